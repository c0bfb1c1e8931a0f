"""Combinations that no shortcut, branch or long skip can have."""

from typing import Any

from resseg.architecture import GATED, spell_out
from resseg.config import coefficients
from resseg.config.heads import (
    ADD,
    CONCAT,
    block_places,
    branch_names,
    head_of,
    merged,
    skip_names,
)
from resseg.config.keys import refuse, value_of
from resseg.config.rows import KEYS
from resseg.config.values import AUXILIARY, BLOCK, LEVEL, PYRAMID_BRANCH

JOINING = {ADD: "add", CONCAT: "concatenate"}  # in words


def places(config: Any) -> dict[str, tuple[str, ...]]:
    """The blocks, long skips or pyramid branches that each coefficient has one for."""
    names = {
        BLOCK: block_places(config.model),
        LEVEL: merged(config.model),
        PYRAMID_BRANCH: branch_names(config.model),
        AUXILIARY: ("aux",),
    }
    one_per = {key: row.value.one_per for key, row in KEYS.items()}
    return {key: names[noun] for key, noun in one_per.items() if noun}


def _coefficients(config: Any) -> None:
    for key, names in places(config).items():
        value, row = value_of(config, key), KEYS[key].value
        if isinstance(value, tuple) and len(value) != len(names):
            noun, count = row.one_per, len(names)
            wanted = f"{count}, one per {noun}" if count else f"there is no {noun}"
            glue = " or " if count else ", "
            reason = f"expected one number{glue}{wanted}; got {len(value)}"
            refuse(config, key, reason)
        try:
            # Where there is no such place, a single number has nothing to be wrong for.
            schedules = coefficients.expand(value, max(len(names), 1), names or ("",))
        except ValueError as error:
            refuse(config, key, str(error))
        for schedule in schedules:
            if not all(map(row.allowed.holds, (schedule.start, schedule.end))):
                refuse(config, key, f"expected {row.allowed.words}")
    starts = {"model.shortcut.gate_bias"}
    if config.model.shortcut.kind in ("learned_scalar", "learned_channel"):
        starts.add("model.shortcut.scale")
    if config.model.branch.learn != "no":
        starts.add("model.branch.scale")
    if config.model.long_skip.learn != "no":
        starts.add("model.long_skip.scale")
    for key in starts:
        if coefficients.is_scheduled(value_of(config, key)):
            refuse(config, key, "is learned from there on, so it has no schedule")


def _absent_shortcut(config: Any) -> None:
    if config.model.shortcut.kind != "none":
        return
    neutral = {
        "model.shortcut.transition": "",
        "model.shortcut.scale": 1.0,
        "model.shortcut.first": 0.0,
        "model.gradient.shortcut": 1.0,
        "model.gradient.bypass": 0.0,  # nothing would go back
        "model.gradient.detach_rate": 0.0,
        "model.backbone.stochastic_depth": 0.0,  # a dropped branch would leave nothing
        "model.branch.orthogonal": "no",
        "model.branch.delta": 0.0,
        "model.gradient.surgery": "no",
        "model.branch.drop_rate": 0.0,
        "model.branch.shake": "no",
    }
    if config.model.branch.init in ("zero_gamma", "fixup"):
        neutral["model.branch.init"] = "he"  # each block would start as the zero map
    for key, value in neutral.items():
        if value_of(config, key) != value:
            refuse(
                config,
                key,
                f"impossible without shortcuts (kind 'none'), set {value!r}",
            )


def _long_skips(config: Any) -> None:
    head, kind = config.model.head.name, config.model.long_skip.kind
    if kind != "native" and not skip_names(config.model):
        refuse(config, "model.long_skip.kind", f"head {head!r} has no long skips")
    joins = head_of(config.model).joins
    if kind in JOINING and kind not in joins:
        can = " and ".join(JOINING[join] for join in joins)
        refuse(config, "model.long_skip.kind", f"head {head!r} can only {can}")
    if kind == "none":
        for key, row in KEYS.items():
            if row.value.one_per == LEVEL and value_of(config, key) != 1.0:
                refuse(config, key, "impossible without long skips (kind 'none')")


def _wiring(config: Any) -> None:
    """What only the levels of a U-Net can do with their skips."""
    settings, names = config.model.long_skip, merged(config.model)
    for key, value in (("learn", "no"), ("wiring", ())):
        has = "deep_supervision" in head_of(config.model).keys and names
        if settings[key] != value and not has:
            wanted = "is for U-Nets with long skips, whose levels have one each"
            refuse(config, f"model.long_skip.{key}", wanted)
    if settings.wiring and config.mesh.space != 1:
        wanted = "resizes features, expected config.mesh.space=1"
        refuse(config, "model.long_skip.wiring", wanted)
    count = len(names)
    if settings.wiring and sorted(settings.wiring) != list(range(count)):
        listed = ", ".join(map(str, range(count)))
        wanted = f"expected {listed}, in any order: one for each level"
        refuse(config, "model.long_skip.wiring", wanted)


def _delta(config: Any) -> None:
    """A branch that writes over the shortcut needs one, and one signal."""
    model, key = config.model, "model.branch.delta"
    if not model.branch.delta:
        return
    for name, value in (("branch.orthogonal", "no"), ("shortcut.streams", 1)):
        if value_of(config, f"model.{name}") != value:
            refuse(config, key, f"needs config.model.{name}={value!r}")
    if model.branch.init in ("zero_gamma", "fixup"):
        wanted = "the direction of a branch that is zero is none, set branch.init 'he'"
        refuse(config, key, wanted)


def _transition(config: Any) -> None:
    model = config.model
    bare = spell_out(model).transition == "none" and model.shortcut.kind != "conv1x1"
    if bare and model.branch.shake == "shake_drop":
        wanted = "transition 'none' leaves blocks with nothing but what is shaken"
        refuse(config, "model.branch.shake", wanted)
    if model.shortcut.transition != "A":
        return
    decoder, everywhere = head_of(model).residual, model.shortcut.kind == "conv1x1"
    plain = spell_out(model).block != "bottleneck"
    narrows = plain and model.backbone.width_factor < 1
    for holds, reason in (
        (
            decoder,
            f"the blocks of a {model.head.name} decoder lose channels, "
            "which 'A' cannot",
        ),
        (everywhere, "has no 1x1 convolution and kind 'conv1x1' has one everywhere"),
        (narrows, "a width_factor below 1 loses channels, which 'A' cannot"),
    ):
        if holds:
            refuse(config, "model.shortcut.transition", reason)


def _branch_start(config: Any) -> None:
    """A branch that starts as the zero map must be able to leave it."""
    plan, model = spell_out(config.model), config.model
    start = model.branch.init
    key = "model.branch.init"
    if start == "fixup" and model.norm != "none":
        refuse(config, key, "is for networks with norm 'none'")
    if start == "he":
        return
    if start in ("dirac", "delta_orthogonal"):
        _isometric_start(config)
        return
    if plan.transition == "none" and model.shortcut.kind != "conv1x1":
        wanted = "needs a shortcut in each block, transition 'none' leaves some without"
        refuse(config, key, wanted)
    if plan.order == "relu_before_add":
        refuse(config, key, "order 'relu_before_add' ends in a ReLU, dead at zero")
    bare = plan.order in ("pre", "bn_after_add") or model.norm == "none"
    if bare and model.weight_standardization:
        refuse(config, key, "the last kernel cannot be both zero and standardised")


def _isometric_start(config: Any) -> None:
    """Kernels that start as an isometry keep it, and have it over all channels."""
    start = config.model.branch.init
    if config.model.weight_standardization:
        refuse(config, "model.branch.init", "standardised kernels have no such start")
    block = spell_out(config.model).block
    if block not in ("basic", "bottleneck"):
        wanted = f"{block} blocks have kernels of one channel, which have no such start"
        refuse(config, "model.branch.init", wanted)
    if config.model.backbone.groups > 1:
        wanted = f"branch.init {start!r} mixes all channels, expected 1"
        refuse(config, "model.backbone.groups", wanted)


def _surgery(config: Any) -> None:
    """Two cotangents are freed of each other; a gate has a third."""
    kind = config.model.shortcut.kind
    if config.model.gradient.surgery != "no" and kind in GATED:
        refuse(
            config, "model.gradient.surgery", f"a block of kind {kind!r} has three ways"
        )


def _streams(config: Any) -> None:
    """What mixes streams takes the place of the identity."""
    model = config.model
    key = "model.shortcut.streams"
    if model.shortcut.streams == 1:
        if model.shortcut.mixing != "free":
            refuse(config, "model.shortcut.mixing", f"needs config.{key} above 1")
        return
    if model.shortcut.kind not in ("identity", "constant"):
        refuse(config, key, f"is for kind 'identity', not {model.shortcut.kind!r}")
    if not coefficients.is_neutral(model.shortcut.first, 0.0):
        refuse(config, "model.shortcut.first", f"is for one stream, and config.{key}=1")
    plan = spell_out(model)
    if plan.transition in ("C", "none"):
        refuse(config, key, f"transition {plan.transition!r} is not for them, set 'B'")
    if max(plan.stage_sizes) < 2:
        refuse(config, key, "needs a stage of 2 blocks or more, as the first has one")
    if plan.order == "bn_after_add":
        refuse(config, key, "order 'bn_after_add' would normalise across streams")


def _dropped(config: Any) -> None:
    rate = config.model.branch.drop_rate
    if config.model.backbone.stochastic_depth and not coefficients.is_neutral(
        rate, 0.0
    ):
        refuse(
            config,
            "model.branch.drop_rate",
            "model.backbone.stochastic_depth is set too, expected one of them",
        )


def _span(config: Any) -> None:
    span = config.model.shortcut.span
    block = spell_out(config.model).block
    if span and block not in ("basic", "depthwise"):
        wanted = f"is for basic and depthwise blocks, not {block}, set 0"
        refuse(config, "model.shortcut.span", wanted)
    if span == 1 and config.model.branch.init == "fixup":
        refuse(config, "model.shortcut.span", "fixup needs 2 convolutions or more")


RULES = (
    _coefficients,
    _absent_shortcut,
    _long_skips,
    _wiring,
    _delta,
    _transition,
    _branch_start,
    _surgery,
    _streams,
    _dropped,
    _span,
)
