"""Convolution and normalisation as torch does them, so that weights transfer."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.models.ops import halo
from resseg.models.ops.batch_norm import normalize
from resseg.models.ops.convolution import convolve, convolve_seen
from resseg.models.ops.relu import relu
from resseg.models.ops.spread import spread
from resseg.models.ops.upsampled import Upsampled

BATCH_MOMENTUM = 0.9  # share of the old running statistics kept per step
EPSILON = 1e-5

he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def scaled_he_normal(scale: float) -> nn.initializers.Initializer:
    """He's initial weights, their deviation multiplied by `scale`."""
    if scale == 1.0:
        return he_normal
    if scale == 0.0:
        return nn.initializers.zeros
    return nn.initializers.variance_scaling(2.0 * scale**2, "fan_out", "normal")


def at_centre(matrix: Callable[..., jax.Array]) -> nn.initializers.Initializer:
    """Kernels that see the pixel in their centre alone, `[h, w, in, out]`.

    Args:
        matrix: `(key, (in, out), dtype)` -> what they make of its channels.
    """

    def start(key, shape, dtype=jnp.float32):
        height, width, *channels = shape
        centre = matrix(key, tuple(channels), dtype)
        empty = jnp.zeros(shape, dtype)
        return empty.at[height // 2, width // 2].set(centre)

    return start


# Kernels that start as an isometry: the identity as far as there are channels for it
# (Zagoruyko 2017, section 3.1), or a random rotation of them (Xiao 2018, section 3).
KERNEL_INITS = {
    "dirac": at_centre(lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)),
    "delta_orthogonal": at_centre(nn.initializers.orthogonal()),
}


class Conv(nn.Module):
    """Convolution, `[batch, h, w, in] -> [batch, h/strides, w/strides, features]`.

    Padding is explicit and symmetric, dilation * (kernel - 1) / 2 on each side: `SAME`
    pads even sizes on one side only when it strides. `ops` holds how it is computed.

    Attributes:
        groups: the input channels fall into so many groups, which do not mix; the
            kernel is `[kernel, kernel, in / groups, features]`.
        standardized: the kernel in use has mean 0 and variance 2 / fan-in in each
            output channel (weight standardisation, Qiao 2019, with He's gain).
        init_scale: factor on the initial kernel; 0 = it starts at zero.
        start: he, or one of `KERNEL_INITS`, which know no scale and no groups.

    What is still to be upsampled may be handed to a plain 3x3, float32.
    """

    features: int
    kernel: int = 3
    strides: int = 1
    dilation: int = 1
    use_bias: bool = False
    dtype: Any = jnp.float32
    groups: int = 1
    standardized: bool = False
    init_scale: float = 1.0
    start: str = "he"

    @nn.compact
    def __call__(self, x: jax.Array | Upsampled) -> jax.Array:
        merged = isinstance(x, Upsampled)
        inputs = (x.channels if merged else x.shape[-1]) // self.groups
        shape = (self.kernel, self.kernel, inputs, self.features)
        drawn = scaled_he_normal(self.init_scale)
        if self.start != "he":
            drawn = KERNEL_INITS[self.start]
        kernel = self.param("kernel", drawn, shape)
        if self.standardized:
            kernel = standardize(kernel)
        kernel = kernel.astype(self.dtype)
        if merged:
            y = x.convolve(kernel)
        else:
            x = x.astype(self.dtype)
            y = self.convolved(x, kernel)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + spread(bias.reshape(1, 1, 1, -1), y)
        return y

    def convolved(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        strides, dilation, groups = self.strides, self.dilation, self.groups
        if self.kernel == strides == 1 or not halo.is_split():
            return convolve(x, kernel, strides, dilation, groups)
        # A halo that is large against the rows of a device is not worth convolving.
        trims = dilation == 1 or strides > 1 or groups > 1
        settings = {"strides": strides, "dilation": dilation, "groups": groups}
        operation = functools.partial(convolve, **settings)
        if not trims:
            operation = functools.partial(convolve_seen, dilation=dilation)
        reach = dilation * (self.kernel - 1) // 2
        return halo.on_rows(
            operation, x, kernel, reach=reach, strides=strides, trims=trims
        )


def standardize(kernel: jax.Array) -> jax.Array:
    """Mean 0 and variance 2 / fan-in in each output channel, `[h, w, in, out]`."""
    axes = (0, 1, 2)
    deviation = jnp.sqrt(kernel.var(axes, keepdims=True) + 1e-10)
    gain = math.sqrt(2 / math.prod(kernel.shape[:3]))
    return (kernel - kernel.mean(axes, keepdims=True)) / deviation * gain


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe 2015) over all axes but the last, as torch does it.

    Normalises by the biased variance of the batch; the running variance collects the
    unbiased one, which differs where few values enter: the image-level branch of a
    pyramid has one per image. A single value has no unbiased variance: 0 is collected
    (torch refuses to train on it). Statistics are float32 whatever the dtype.

    Flax's own layer collects the biased variance, so it cannot continue a training that
    torch began.
    """

    zero_scale: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape = (x.shape[-1],)
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        scale = self.param("scale", zeros if self.zero_scale else ones, shape)
        bias = self.param("bias", zeros, shape)
        wide = x.astype(jnp.float32)
        if not train:
            factor = jax.lax.rsqrt(running_var.value + EPSILON) * scale
            y = (wide - self.row(running_mean.value, x)) * self.row(factor, x)
            return (y + self.row(bias, x)).astype(self.dtype)
        y, mean, var = normalize(wide, scale, bias, EPSILON)
        if not self.is_initializing():
            count = math.prod(x.shape[:-1])
            unbiased = var * (count / max(count - 1, 1))
            keep = BATCH_MOMENTUM
            running_mean.value = keep * running_mean.value + (1 - keep) * mean
            running_var.value = keep * running_var.value + (1 - keep) * unbiased
        return y.astype(self.dtype)

    @staticmethod
    def row(vector: jax.Array, x: jax.Array) -> jax.Array:
        return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


class Norm(nn.Module):
    """Batch or group normalisation, or a bias alone where there is none.

    Under `jit` over a mesh the batch statistics are those of the global batch.
    """

    kind: str
    zero_scale: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        if self.kind == "batch":
            return BatchNorm(self.zero_scale, self.dtype, name="batch")(x, train)
        if self.kind == "group":
            # 32 (Wu 2018), but at least 4 channels in each: a group of one value, as
            # where an image has shrunk to a pixel, would be normalised to zero.
            halvings, channels = (32, 16, 8, 4, 2), x.shape[-1]
            fit = [g for g in halvings if channels % g == 0 and channels >= 4 * g]
            groups = max(fit, default=1)
            return nn.GroupNorm(
                num_groups=groups,
                epsilon=EPSILON,
                dtype=self.dtype,
                scale_init=zeros if self.zero_scale else ones,
                name="group",
            )(x)
        bias = self.param("bias", zeros, (x.shape[-1],))
        return x + spread(bias.reshape(1, 1, 1, -1), x)


NORMS = ("batch", "group", "none")


class ConvNormAct(nn.Module):
    """Convolution, normalisation, ReLU: what heads are made of.

    Attributes:
        separable: one kernel per channel (`depthwise`), then a 1x1 convolution; of an
            image, not of what is still to be upsampled.
        use_bias: of the convolution. In front of a batch norm it moves nothing while
            its statistics are those of the batch; some published networks have it.
        activates: whether there is a ReLU.
    """

    features: int
    kernel: int = 3
    dilation: int = 1
    norm: str = "batch"
    dtype: Any = jnp.float32
    separable: bool = False
    use_bias: bool = False
    activates: bool = True

    @nn.compact
    def __call__(self, x: jax.Array | Upsampled, train: bool) -> jax.Array:
        settings: dict[str, Any] = {"kernel": self.kernel, "dilation": self.dilation}
        if self.separable and not isinstance(x, Upsampled):
            channels = x.shape[-1]
            settings |= {"groups": channels, "dtype": self.dtype, "name": "depthwise"}
            x = Conv(channels, **settings)(x)
            settings = {"kernel": 1}
        settings |= {"use_bias": self.use_bias, "dtype": self.dtype, "name": "conv"}
        x = Conv(self.features, **settings)(x)
        x = Norm(self.norm, dtype=self.dtype, name="norm")(x, train)
        return relu(x) if self.activates else x


class Classifier(nn.Module):
    """Dropout and the convolution to class scores, 1x1 unless said otherwise.

    Attributes:
        drops_channels: a channel of an image is dropped as a whole.
    """

    num_classes: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    kernel: int = 1
    drops_channels: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shared = (1, 2) if self.drops_channels else ()
        x = nn.Dropout(self.dropout, broadcast_dims=shared, deterministic=not train)(x)
        return Conv(
            self.num_classes, self.kernel, use_bias=True, dtype=self.dtype, name="conv"
        )(x)
