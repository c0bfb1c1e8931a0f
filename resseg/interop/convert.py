"""State dicts of torch to variables and back, bit for bit."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from resseg.architecture import spell_out
from resseg.config.heads import head_of
from resseg.errors import UserError, choose
from resseg.interop.architecture import Architecture, of_config
from resseg.interop.backbones import STAGES, Shapes
from resseg.interop.layers import Layer, Tensor, counters, tensors
from resseg.interop.layouts import LAYOUTS, Layout

_COLLECTIONS = ("params", "batch_stats")
_NAMED = 4  # tensors that a message lists
_EXACT = ("float32", "float16", "bfloat16")  # every number of them is a float32
# Keys that change what a network computes and that no name or shape tells.
_NEUTRAL = {
    "weight_standardization": False,
    "backbone.multi_grid": (),
    "shortcut.kind": "identity",
    "shortcut.scale": 1.0,
    "branch.scale": 1.0,
    "branch.shake": "no",
    "long_skip.kind": "native",
    "long_skip.scale": 1.0,
}


def from_torch(
    layout: str, state_dict: Mapping[str, Any], architecture: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config overrides and variables from the tensors of a torch network.

    The architecture is inferred from names and shapes. What they do not tell (output
    stride, dilations, resizing) is as the library builds it. Counts of batches are
    dropped. float16 and bfloat16 become float32, which is exact.

    Args:
        layout: torchvision, timm or smp.
        state_dict: arrays, or what numpy makes arrays of, by torch's names.
        architecture: insist on this one of the layout; "" = whatever it is.

    Returns:
        Values by dotted key for `resseg.load_config`, and {"params", "batch_stats"} of
        float32 numpy arrays, with which the network of that config is applied as they
        are. The last layer of a classification network is at `params/classifier`, where
        `ImageClassifier` has it.

    Raises:
        UserError: tensors are missing, left over, of a wrong shape or type; names them.
    """
    choose("layout", layout, LAYOUTS)
    rules = LAYOUTS[layout]
    arrays = {name: np.asarray(array) for name, array in state_dict.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    what = f"layout {layout!r}"
    if architecture:
        choose(f"{what}: architecture", architecture, rules.architectures)
        what = f"{architecture} of {what}"
    try:
        network = rules.read(shapes)
        if architecture:
            network = fitted(rules, rules.architectures[architecture], shapes)
        _check_backbone(rules, network)
        table = rules.layers(network)
        wanted = {tensor.name: tensor.shape for tensor in _all(table)}
        counts = set(counters(table))
        _compare(wanted, {name: shapes[name] for name in shapes if name not in counts})
        _check_types({name: arrays[name] for name in wanted})
    except UserError as error:
        raise UserError(f"{what}: {error}{_alike(shapes, what)}") from None
    placed = [tensor for tensor in _all(table) if tensor.path]
    flat = {tensor.path: tensor.from_torch(arrays[tensor.name]) for tensor in placed}
    variables = traverse_util.unflatten_dict(flat, sep="/")
    return rules.overrides(network), variables


def to_torch(
    layout: str, config: Any, variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The state dict of the torch network that is this one.

    Args:
        layout: torchvision, timm or smp.
        config: as `load_config` returns it.
        variables: of the network of `config`, or of an `ImageClassifier` on its
            backbone; params and batch_stats are read.

    Returns:
        float32 arrays by torch's names, and an int64 zero per norm for its count of
        batches: `load_state_dict(strict=True)` takes it. What torch's network holds and
        never computes is zero.

    Raises:
        UserError: no network of that layout is this one; names what differs.
    """
    choose("layout", layout, LAYOUTS)
    rules, params = LAYOUTS[layout], variables["params"]
    try:
        architecture = of_config(config.model, params)
        choose("head", architecture.head, rules.settings)
        _check_backbone(rules, architecture)
        _check_meaning(config.model, rules.settings[architecture.head])
        table = rules.layers(architecture)
        collections = {name: variables.get(name, {}) for name in _COLLECTIONS}
        flat: dict[str, Any] = traverse_util.flatten_dict(collections, sep="/")
        wanted = {each.path: each.ours for each in _all(table) if each.path}
        _compare(wanted, {path: tuple(array.shape) for path, array in flat.items()})
    except UserError as error:
        raise UserError(f"layout {layout!r} has no such network: {error}") from None
    arrays = {
        tensor.name: tensor.to_torch(flat[tensor.path])
        if tensor.path
        else np.zeros(tensor.shape, np.float32)
        for tensor in _all(table)
    }
    return arrays | {name: np.zeros((), np.int64) for name in counters(table)}


def tensor_shapes(layout: str, architecture: Architecture) -> dict[str, Any]:
    """Shapes of the tensors of an architecture by name, counts of batches included."""
    table = LAYOUTS[layout].layers(architecture)
    shapes = {tensor.name: tensor.shape for tensor in _all(table)}
    return shapes | dict.fromkeys(counters(table), ())


def fitted(rules: Layout, known: Architecture, shapes: Shapes) -> Architecture:
    """`known` with as many classes as the scores have, and the auxiliary head if it is
    there; a classification network may lack its last layer.
    """
    full = dataclasses.replace(known, num_classes=1, aux=bool(known.head))
    names = {row.path: f"{row.torch}.weight" for row in rules.layers(full)}
    scores = names["head/classifier/conv" if known.head else "classifier"]
    classes = shapes.get(scores, ())[:1]
    aux = any(name in shapes for path, name in names.items() if path.startswith("aux/"))
    default = 1 if known.head else 0
    return dataclasses.replace(known, num_classes=(*classes, default)[0], aux=aux)


def _all(table: Iterable[Layer]) -> list[Tensor]:
    return [tensor for layer in table for tensor in tensors(layer)]


def _check_backbone(rules: Layout, architecture: Architecture) -> None:
    if architecture.layout not in ("", *rules.families):
        raise UserError(f"its backbone is {architecture.layout}, expected a ResNet")
    choose("variant", architecture.variant, rules.variants)
    stages = len(architecture.stage_sizes)
    if stages < STAGES and architecture.head not in rules.shortened:
        raise UserError(f"it has {stages} stages, expected {STAGES}")
    if architecture.se_reduction and not rules.squeezes:
        raise UserError("it has squeeze-and-excitation, expected none")


def _check_types(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.dtype.name not in _EXACT:
            kinds = " or ".join(_EXACT)
            raise UserError(f"{name}: expected {kinds}, found {array.dtype.name}")


def _compare(wanted: Shapes, given: Shapes) -> None:
    """Raises UserError for the first wrong shape, else for what is missing or left."""
    for name, shape in wanted.items():
        if name in given and given[name] != shape:
            raise UserError(f"{name}: expected shape {shape}, found {given[name]}")
    differing = {
        "missing": [name for name in wanted if name not in given],
        "left over": [name for name in given if name not in wanted],
    }
    lists = [f"{what}: {_listed(names)}" for what, names in differing.items() if names]
    if lists:
        raise UserError("; ".join(lists))


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _alike(shapes: Shapes, asked: str) -> str:
    """Says which known architecture it is, if it is one that was not asked for."""
    for layout, rules in LAYOUTS.items():
        for name, known in rules.architectures.items():
            table = tensor_shapes(layout, fitted(rules, known, shapes))
            counted = {key: shape for key, shape in table.items() if shape}
            if all(shapes.get(key) == shape for key, shape in counted.items()):
                same = set(shapes) <= set(table)
                if same and asked != f"{name} of layout {layout!r}":
                    return f" (these are the tensors of {name} of layout {layout!r})"
    return ""


def _check_meaning(model: Any, settings: Mapping[str, Any]) -> None:
    """Raises UserError where `config.model` computes what torch's network does not."""
    plan = spell_out(model)
    stride = settings["model.backbone.output_stride"] or plan.native_stride
    expected = _NEUTRAL | {"backbone.output_stride": stride}
    if stride < 32:
        expected["backbone.dilation"] = settings["model.backbone.dilation"]
    if "model.head.align_corners" in settings and not head_of(model).decodes:
        expected["head.align_corners"] = settings["model.head.align_corners"]
    for key, value in expected.items():
        section, _, name = key.rpartition(".")
        given = (model[section] if section else model)[name]
        if name == "output_stride":
            given = plan.output_stride
        if isinstance(value, float) and not isinstance(given, int | float):
            given = value if all(one == value for one in given) else given
        if given != value:
            raise UserError(f"config.model.{key}={given!r}, expected {value!r}")
