"""Numbers that a process with torch and one with JAX draw alike: numpy and names only.

Weights, images, labels, and which values of an array a fixture keeps.
"""

import zlib
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "fixtures"
SHAPES, VALUES = FOLDER / "shapes.json.xz", FOLDER / "values.npz"
SAMPLES = 200  # values of the scores that a fixture keeps
STEP_SAMPLES = 3  # values of the change of a tensor
STEP_BATCH = 4
LEARNING_RATE = 0.01
CLASSES = 21  # of segmentation networks
SMP_HEADS = (
    *("Unet", "DeepLabV3", "DeepLabV3Plus", "FPN", "PSPNet"),
    *("Linknet", "UnetPlusPlus", "PAN", "MAnet", "UPerNet"),
)
ODD, EVEN, WIDE = (65, 97), (64, 96), (304, 320)
# layout, name in the library, with the auxiliary head
NAMES = [
    *[("torchvision", f"resnet{depth}", False) for depth in (18, 34, 50, 101, 152)],
    ("torchvision", "mobilenet_v2", False),
    ("torchvision", "efficientnet_b0", False),
    ("torchvision", "resnext50_32x4d", False),
    ("torchvision", "resnext101_32x8d", False),
    ("torchvision", "resnext101_64x4d", False),
    ("torchvision", "wide_resnet50_2", False),
    ("torchvision", "wide_resnet101_2", False),
    *[
        ("torchvision", f"{head}_resnet{depth}", aux)
        for head in ("fcn", "deeplabv3")
        for depth in (50, 101)
        for aux in (False, True)
    ],
    *[("timm", f"resnet{depth}", False) for depth in (18, 34, 50, 101, 152)],
    ("timm", "resnet50d", False),
    ("timm", "seresnet50", False),
    ("timm", "resnetv2_50", False),
    *[
        ("smp", f"{head}_resnet{depth}", False)
        for head in SMP_HEADS
        for depth in (18, 34, 50, 101)
    ],
]
# Trained for one step; with an image-level branch where the unbiased variance shows.
STEPS = [
    ("torchvision", "resnet18", False),
    ("torchvision", "mobilenet_v2", False),
    ("timm", "resnetv2_50", False),
    ("smp", "Unet_resnet18", False),
    *[("smp", f"{head}_resnet18", False) for head in SMP_HEADS[2:]],
]


def key(layout, name, aux):
    """Name of an architecture in the fixtures."""
    return f"{layout}/{name}{'+aux' if aux else ''}"


def size(layout, name):
    """Height and width of its image; smp's take multiples of their stride, Unet not.

    A dilation of 36 reaches anything but padding from 37 features on.
    """
    if name.startswith("PAN_"):
        return (128, 160)  # halved three times behind a stride of 16
    if layout == "smp" and not name.startswith("Unet_"):
        return WIDE if name == "DeepLabV3_resnet18" else EVEN
    return ODD


def generator(*words):
    return np.random.default_rng(zlib.crc32("/".join(map(str, words)).encode()))


def weights(shapes):
    """float32 arrays by name: He-like kernels, and statistics that are not trivial."""
    return {name: _weight(name, shape) for name, shape in shapes.items()}


def _weight(name, shape):
    draw = generator(name)
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros((), np.int64)
    if len(shape) > 1:
        array = draw.standard_normal(shape, np.float32)
        return array * np.float32((2 / np.prod(shape[1:])) ** 0.5)
    if kind == "running_var":
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if kind == "weight":
        return draw.uniform(0.3, 1.0, shape).astype(np.float32)
    return draw.standard_normal(shape, np.float32) * np.float32(0.1)


def images(count, height, width):
    """`[count, height, width, 3]`"""
    draw = generator("images", count, height, width)
    return draw.standard_normal((count, height, width, 3), np.float32)


def labels(shape, classes):
    return generator("labels", *shape).integers(0, classes, shape)


def change(before, after):
    """What a step did to each tensor, `[tensors, 1 + STEP_SAMPLES]`, in torch's order.

    The norm of the change, and samples of it.
    """
    rows = []
    for name, start in before.items():
        if start.ndim:  # else it counts batches
            moved = np.asarray(after[name], np.float64) - start
            samples = np.resize(sample(moved, STEP_SAMPLES), STEP_SAMPLES)
            rows.append([np.linalg.norm(moved), *samples])
    return np.asarray(rows, np.float32)


def sample(array, count=SAMPLES):
    """`count` values at even distances, a prime number of them apart if it can be."""
    flat = np.asarray(array, np.float32).reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(count, flat.size)).astype(int)]


def stands_still(name, at):
    """Whether a step leaves a tensor as it is, but for rounding.

    What torch holds and never computes; biases in front of a batch norm, those of a
    MobileNet's narrow features too, which normalised 1x1 convolutions alone read; a
    kernel of which a single weight is used there; gates whose gradients are below
    rounding.
    """
    if at.startswith("torchvision/mobilenet_v2"):
        return name.endswith((".conv.3.bias", "features.1.conv.2.bias"))
    if at.startswith("smp/PSPNet"):
        return name.startswith(("encoder.layer3.", "encoder.layer4."))
    if at.startswith("smp/PAN"):
        return name.endswith((".conv.bias", "down3.1.conv.weight"))
    if at.startswith("smp/MAnet"):
        return ".SE_" in name
    if at.startswith("smp/UPerNet"):
        return "feature_norms" in name and name.endswith(".bias")
    return at.startswith("smp/Linknet") and name.endswith("block.1.0.bias")
