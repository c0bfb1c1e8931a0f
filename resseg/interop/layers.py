"""The layers of a network by torch's names and by ours: one table for both directions.

A layout is a function from an `Architecture` to such a table. Every tensor of a state
dict, its shape and its place in our variables follow from the table alone.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

COUNTER = "num_batches_tracked"  # of every torch norm; we count no batches


class Layer(NamedTuple):
    """A layer.

    Attributes:
        torch: prefix of its tensors, as in `layer1.0.conv1`.
        path: its module path here, as in `backbone/stage1/block1/branch/conv1`; "" =
            torch holds it and never computes it.
        kind: conv, transposed, linear, norm, linear_as_conv (1x1 in torch, linear
            here), affine (of a norm that collects nothing), or bias (without a weight).
        shape: of its weight in torch.
        bias: whether a convolution has one.
    """

    torch: str
    path: str
    kind: str
    shape: tuple[int, ...]
    bias: bool = False


class Tensor(NamedTuple):
    """A tensor of a state dict and the array here that holds the same numbers.

    Attributes:
        name, shape: in torch.
        path: here, with the collection in front; "" = nowhere.
        axes: torch's axes in the order of ours.
        ours: shape of the array here.
    """

    name: str
    shape: tuple[int, ...]
    path: str
    axes: tuple[int, ...]
    ours: tuple[int, ...]

    def from_torch(self, tensor: np.ndarray) -> np.ndarray:
        """A float32 array of our shape."""
        array = np.asarray(tensor, np.float32).transpose(self.axes).reshape(self.ours)
        return np.ascontiguousarray(array)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """A float32 array of torch's shape."""
        moved = tuple(self.shape[axis] for axis in self.axes)
        back = np.argsort(self.axes)
        array = np.asarray(array, np.float32).reshape(moved).transpose(back)
        return np.ascontiguousarray(array)


def conv(
    torch: str,
    path: str,
    inputs: int,
    outputs: int,
    kernel: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> Layer:
    """A convolution, OIHW in torch and HWIO here."""
    shape = (outputs, inputs // groups, kernel, kernel)
    return Layer(torch, path, "conv", shape, bias)


def norm(torch: str, path: str, channels: int) -> Layer:
    """A batch normalisation."""
    return Layer(torch, path, "norm", (channels,))


def transposed(torch: str, path: str, inputs: int, outputs: int, kernel: int) -> Layer:
    """A transposed convolution with a bias, IOHW in torch and HWIO here."""
    shape = (inputs, outputs, kernel, kernel)
    return Layer(torch, path, "transposed", shape, bias=True)


def layer_norm(torch: str, path: str, channels: int) -> Layer:
    """A normalisation over channels."""
    return Layer(torch, path, "affine", (channels,))


def group_norm(torch: str, path: str, channels: int) -> Layer:
    """A group normalisation."""
    return Layer(torch, f"{path}/group", "affine", (channels,))


def conv_norm(
    torch: str,
    path: str,
    inputs: int,
    outputs: int,
    kernel: int = 3,
    first: int = 0,
) -> list[Layer]:
    """A `ConvNormAct`, in torch the numbers `first` and `first + 1` of a sequence."""
    return [
        conv(f"{torch}.{first}", f"{path}/conv", inputs, outputs, kernel),
        norm(f"{torch}.{first + 1}", f"{path}/norm", outputs),
    ]


def tensors(layer: Layer) -> Iterator[Tensor]:
    """The tensors of a layer but the counter of a norm."""
    for tensor in _placed(layer):
        yield tensor if layer.path else tensor._replace(path="")


def _placed(layer: Layer) -> Iterator[Tensor]:
    channels = layer.shape[:1]
    if layer.kind in ("affine", "bias"):
        if layer.kind == "affine":
            scale = f"params/{layer.path}/scale"
            yield _vector(f"{layer.torch}.weight", channels, scale)
        yield _vector(f"{layer.torch}.bias", channels, f"params/{layer.path}/bias")
        return
    if layer.kind == "norm":
        places = {
            "weight": "params/{}/batch/scale",
            "bias": "params/{}/batch/bias",
            "running_mean": "batch_stats/{}/batch/mean",
            "running_var": "batch_stats/{}/batch/var",
        }
        for name, place in places.items():
            yield _vector(f"{layer.torch}.{name}", channels, place.format(layer.path))
        return
    axes = {
        "conv": (2, 3, 1, 0),
        "transposed": (2, 3, 0, 1),
        "linear": (1, 0),
        "linear_as_conv": (2, 3, 1, 0),
    }[layer.kind]
    ours = tuple(layer.shape[axis] for axis in axes)
    if layer.kind == "linear_as_conv":
        ours = (math.prod(ours[:-1]), ours[-1])
    path = f"params/{layer.path}/kernel"
    yield Tensor(f"{layer.torch}.weight", layer.shape, path, axes, ours)
    if layer.bias:
        biases = ours[-1:]
        yield _vector(f"{layer.torch}.bias", biases, f"params/{layer.path}/bias")


def counters(layers: list[Layer]) -> list[str]:
    """Names of the tensors that count batches."""
    return [f"{layer.torch}.{COUNTER}" for layer in layers if layer.kind == "norm"]


def _vector(name: str, shape: tuple[int, ...], path: str) -> Tensor:
    return Tensor(name, shape, path, (0,), shape)
