"""MACs: the published ones, and those of the program that XLA is given."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

from resseg.blueprint.trace import trace
from resseg.models import resizing
from resseg.models.ops.choice import Formulation, formulation
from tests.models.networks import network

B = "backbone."
OS8, OS16 = {"backbone.output_stride": 8}, {"backbone.output_stride": 16}
AUX = {"aux.weight": 0.5}


def macs(net, size, part=""):
    calls = trace(net, (1, *size, 3), train=False).measured
    return sum(call.macs for call in calls if part in ("", *call.path[:1]))


# torchvision publishes the first eight; all are multiply-accumulates in 10^9.
@pytest.mark.parametrize(
    ("depth", "head", "settings", "size", "published"),
    [
        (50, "fcn", OS8 | AUX, 520, 152.717),
        pytest.param(101, "fcn", OS8 | AUX, 520, 232.738, marks=pytest.mark.slow),
        (50, "deeplabv3", OS8 | AUX, 520, 178.722),
        pytest.param(101, "deeplabv3", OS8 | AUX, 520, 258.743, marks=pytest.mark.slow),
        (50, "fcn", OS8, 520, 142.726),
        pytest.param(101, "fcn", OS8, 520, 222.747, marks=pytest.mark.slow),
        (50, "deeplabv3", OS8, 520, 168.731),
        pytest.param(101, "deeplabv3", OS8, 520, 248.752, marks=pytest.mark.slow),
        (50, "fcn", OS8, 512, 138.368),
        (50, "fcn", OS16, 512, 42.101),
        (50, "fcn", {}, 512, 23.772),
        pytest.param(101, "fcn", OS8, 512, 215.946, marks=pytest.mark.slow),
        pytest.param(101, "fcn", OS16, 512, 61.495, marks=pytest.mark.slow),
        pytest.param(101, "fcn", {}, 512, 43.166, marks=pytest.mark.slow),
        (50, "deeplabv3", OS8, 512, 163.579),
        (50, "deeplabv3", OS16, 512, 48.404),
        (50, "deeplabv3", {}, 512, 25.348),
        pytest.param(101, "deeplabv3", OS8, 512, 241.157, marks=pytest.mark.slow),
        pytest.param(101, "deeplabv3", OS16, 512, 67.799, marks=pytest.mark.slow),
        pytest.param(101, "deeplabv3", {}, 512, 44.743, marks=pytest.mark.slow),
    ],
)
def test_segmentation_macs_are_the_published_ones(
    depth, head, settings, size, published
):
    net = network(**{"backbone.depth": depth, "head.name": head} | settings)
    assert round(macs(net, (size, size)) / 1e9, 3) == published


@pytest.mark.parametrize(
    ("depth", "features", "published"),
    [
        (18, 512, 1.814),
        (34, 512, 3.664),
        (50, 2048, 4.089),
        pytest.param(101, 2048, 7.801, marks=pytest.mark.slow),
        pytest.param(152, 2048, 11.514, marks=pytest.mark.slow),
    ],
)
def test_classification_macs_are_the_published_ones(depth, features, published):
    net = network(**{"backbone.depth": depth, "head.name": "fcn"})
    trunk = macs(net, (224, 224), "backbone")
    assert round((trunk + 1000 * features) / 1e9, 3) == published


def equations(jaxpr):
    """All equations of a program, those of the programs inside it too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            if isinstance(inner, Jaxpr):
                yield from equations(inner)


def macs_of_program(net, size):
    """Counted from the convolutions and matrix products that XLA is given."""
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    del variables["taps"]
    total = 0
    with formulation(Formulation.PLAIN):
        program = jax.make_jaxpr(net.apply)(variables, images)
    for equation in equations(program.jaxpr):
        if equation.primitive.name not in ("conv_general_dilated", "dot_general"):
            continue
        left, right = (variable.aval.shape for variable in equation.invars)
        output = math.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += output * math.prod(left[axis] for axis in contracted)
        elif equation.params["lhs_dilation"] == (1, 1):
            total += output * math.prod(right[:3])
        else:
            total += math.prod(left) * math.prod(right) // right[2]
    return total


@pytest.mark.parametrize(
    "settings",
    [
        {"head.name": "fcn", B + "variant": "v1d", **AUX},
        {"head.name": "fcn", B + "variant": "v2", "shortcut.transition": "A"},
        {"head.name": "fcn8s", B + "depth": 10, "shortcut.kind": "none"},
        {"head.name": "fcn16s", B + "groups": 4, B + "group_width": 16},
        {"head.name": "unet", B + "se_reduction": 4},
        {"head.name": "unet", "long_skip.kind": "add", "shortcut.kind": "conv1x1"},
        {"head.name": "resunet", "weight_standardization": True},
        {"head.name": "deeplabv3", B + "output_stride": 16, B + "variant": "v1"},
        {"head.name": "deeplabv3plus", "head.separable": True, "norm": "group"},
        {"head.name": "deeplabv3plus", "head.convs": (1, 1), "norm": "none"},
    ],
)
def test_macs_equal_those_of_the_traced_program(monkeypatch, settings):
    # Interpolation is a matrix product to XLA and no convolution to those who publish.
    for module in ("network", "heads.deeplab"):
        monkeypatch.setattr(
            f"resseg.models.{module}.resize",
            lambda x, size, align_corners=False: resizing.resize_nearest(x, size),
        )
    small = {B + "depth": 50, B + "width": 8, B + "stage_sizes": (1, 2, 1, 1)}
    net = network(5, **small | settings)
    size = (65, 97)  # odd: what is cut at the border is counted too
    counted = macs(net, size)
    assert counted > 1e6
    assert counted == macs_of_program(net, size)


def test_a_kernel_of_unknown_use_is_refused():
    class Odd(nn.Module):
        @nn.compact
        def __call__(self, images, train):
            return images @ self.param("kernel", nn.initializers.ones, (3, 3))

    with pytest.raises(TypeError, match="Odd"):
        _ = trace(Odd(), (1, 8, 8, 3), train=False).macs
