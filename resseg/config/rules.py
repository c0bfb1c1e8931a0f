"""Combinations that no network, loss or schedule can have, each refused by one rule.

Each rule raises a UserError of one line, or returns.
"""

from typing import Any

from resseg.architecture import spell_out
from resseg.config import block_rules, shortcut_rules
from resseg.config.fields import normalise
from resseg.config.heads import decoder_levels, head_of, own_keys
from resseg.config.keys import refuse, value_of
from resseg.config.rows import KEYS
from resseg.errors import UserError, choose

PYRAMID_STRIDES = (8, 16, 32)  # output strides with default dilations of the pyramid


def _data(config: Any) -> None:
    low, high = config.data.scale
    if low > high:
        refuse(config, "data.scale", "expected the smaller factor first")
    mixes = ("mosaic", "cutmix", "classmix")
    if sum(config.data[name] for name in mixes) > 1:
        last = [name for name in mixes if config.data[name]][-1]
        listed = ", ".join(mixes)
        refuse(config, f"data.{last}", f"expected {listed} to be 1 together at most")


def _mixup(config: Any) -> None:
    if config.data.mixup and config.train.accumulate > 1:
        refuse(
            config,
            "data.mixup",
            "parts of a batch count by the pixels of one label each, set 0 or "
            "config.train.accumulate=1",
        )


def _stages(config: Any) -> None:
    plan = spell_out(config.model)
    if len(plan.stage_strides) != len(plan.stage_sizes):
        refuse(
            config,
            "model.backbone.stage_strides",
            f"expected {len(plan.stage_sizes)} numbers, one per stage, "
            f"got {len(plan.stage_strides)}",
        )
    # The stride of the first stage stays: dilation replaces the last strides.
    dilatable = sum(stride == 2 for stride in plan.stage_strides[1:])
    possible = [plan.native_stride // 2**k for k in range(dilatable + 1)]
    if plan.output_stride not in possible:
        listed = ", ".join(map(str, possible))
        refuse(
            config,
            "model.backbone.output_stride",
            f"stem {plan.stem!r} with stage_strides {plan.stage_strides!r} "
            f"can have {listed}",
        )


def _stages_for_head(config: Any) -> None:
    stages = len(spell_out(config.model).stages)
    needed = head_of(config.model).stages
    if stages < needed:
        refuse(
            config,
            "model.head.name",
            f"needs {needed} stages in the backbone, which has {stages}",
        )
    if config.model.aux.weight and stages < 2:
        refuse(config, "model.aux.weight", "needs 2 stages in the backbone, it has 1")


def _undilated_decoder(config: Any) -> None:
    plan = spell_out(config.model)
    head = config.model.head.name
    if head_of(config.model).decodes and plan.output_stride != plan.native_stride:
        refuse(
            config,
            "model.backbone.output_stride",
            f"head {head!r} decodes every stride of its backbone, expected "
            f"{plan.native_stride} "
            "(a dilated backbone goes with an fcn or deeplab head)",
        )


def _crop(config: Any) -> None:
    stride = spell_out(config.model).output_stride
    # k * stride + 1, as 513 (Chen et al. 2017), puts a feature on every corner.
    if any(side < stride or side % stride not in (0, 1) for side in config.data.crop):
        refuse(
            config,
            "data.crop",
            f"height and width must be multiples of the output stride {stride}, or "
            "such a multiple and 1",
        )


def _head_fields(config: Any) -> None:
    head = config.model.head
    blocks = decoder_levels(config.model)
    if blocks and len(head.channels) not in (0, blocks):
        refuse(
            config,
            "model.head.channels",
            f"expected {blocks} numbers, one per decoder block, "
            f"got {len(head.channels)}",
        )
    reads = head_of(config.model).keys
    for name, part in own_keys().items():
        key = f"model.head.{name}"
        default = KEYS[key].value.default
        if name not in reads and normalise(key, value_of(config, key)) != default:
            refuse(config, key, f"head {head.name!r} has no {part}")


def _pyramid(config: Any) -> None:
    head, stride = config.model.head, spell_out(config.model).output_stride
    if len(set(head.rates)) < len(head.rates):
        refuse(config, "model.head.rates", "expected 3 different dilations")
    unknown = stride not in PYRAMID_STRIDES
    reads = "rates" in head_of(config.model).keys
    if reads and not head.rates and unknown:
        listed = ", ".join(map(str, PYRAMID_STRIDES))
        refuse(
            config,
            "model.head.rates",
            f"output stride {stride} needs 3 dilations (only {listed} have defaults)",
        )


def _init(config: Any) -> None:
    if config.init.variables_from and config.init.backbone_from:
        refuse(config, "init.backbone_from", "init.variables_from is set too")


def _loss(config: Any) -> None:
    weights = config.loss.class_weights
    if isinstance(weights, str):
        choose("config.loss.class_weights", weights, ["median_frequency"])
    elif weights and not any(weights):
        refuse(config, "loss.class_weights", "expected at least one above 0")
    if not any(config.loss.terms.values()):
        listed = ", ".join(config.loss.terms)
        raise UserError(f"config.loss.terms: expected at least one of {listed} above 0")
    if not config.loss.tversky_alpha and not config.loss.tversky_beta:
        refuse(config, "loss.tversky_beta", "tversky_alpha is 0 too, expected above 0")
    most = min(config.data.crop) // 3
    if config.loss.terms.rmi and config.loss.rmi_stride > most:
        refuse(
            config,
            "loss.rmi_stride",
            f"a region has 3 cells a side, expected at most {most} for crops of "
            f"{config.data.crop!r}",
        )


def _optim(config: Any) -> None:
    parts = ("stem", *spell_out(config.model).stages)
    for name in config.optim.freeze:
        choose("config.optim.freeze", name, parts)
    if config.optim.ema and config.optim.swa_start:
        refuse(config, "optim.swa_start", "optim.ema is set too, expected one of them")
    if config.optim.swa_start >= config.train.steps:
        refuse(
            config,
            "optim.swa_start",
            f"expected a number below config.train.steps={config.train.steps}",
        )


def _mesh(config: Any) -> None:
    devices, space = config.mesh.data, config.mesh.space
    if devices <= 0 and space < 0:
        refuse(
            config,
            "mesh.space",
            "expected the number of devices that share an image, as "
            f"config.mesh.data={devices} takes what is left; or config.mesh.data=1",
        )
    for key in ("data.batch_size", "data.eval_batch_size"):
        if devices > 0 and value_of(config, key) % devices:
            refuse(config, key, f"expected a multiple of config.mesh.data={devices}")
    if space > 0:
        check_height(config, space)


def check_height(config: Any, space: int) -> None:
    """Whether so many devices get as many rows each of an image, in every stage.

    Raises:
        UserError: they do not.
    """
    plan, (height, _) = spell_out(config.model), config.data.crop
    multiple = head_of(config.model).rows
    least = plan.output_stride * space * multiple
    if space > 1 and height % least:
        nearest = max(round(height / least), 1) * least
        each = least // space
        fewer = [n for n in range(1, space) if n == 1 or height % (each * n) == 0]
        instead = f"; nearest: {nearest}"
        wanted = ""
        if multiple > 1:
            name = config.model.head.name
            wanted = f", and head {name!r} needs a multiple of {multiple}"
        if fewer:
            instead += f", or config.mesh.space={fewer[-1]}"
        refuse(
            config,
            "data.crop",
            f"expected a height divisible by {least}: of {plan.stages[-1]}, at output "
            f"stride {plan.output_stride}, each of {space} devices (config.mesh.space) "
            f"has {height / (plan.output_stride * space):.3g} rows{wanted}{instead}",
        )


RULES = (
    _data,
    _mixup,
    _stages,
    *block_rules.RULES,
    _stages_for_head,
    _undilated_decoder,
    _crop,
    _head_fields,
    _pyramid,
    _init,
    _loss,
    _optim,
    _mesh,
    *shortcut_rules.RULES,
)
