"""Convolution, normalisation, resizing as torch does them, so that weights transfer."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

BATCH_MOMENTUM = 0.9  # share of the old running statistics kept per step
EPSILON = 1e-5

he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Conv(nn.Module):
    """Convolution, `[batch, h, w, in] -> [batch, h/strides, w/strides, features]`.

    Padding is explicit and symmetric, dilation * (kernel - 1) / 2 on each side: `SAME`
    pads even sizes on one side only when it strides. A 1x1 kernel is a matrix product,
    which XLA runs on a CPU three times as fast as the same convolution.
    """

    features: int
    kernel: int = 3
    strides: int = 1
    dilation: int = 1
    use_bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.kernel == 1:
            x = x[:, :: self.strides, :: self.strides]
            y = jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
        else:
            pad = self.dilation * (self.kernel - 1) // 2
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                window_strides=(self.strides, self.strides),
                padding=((pad, pad), (pad, pad)),
                rhs_dilation=(self.dilation, self.dilation),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return y


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
        scale_init = zeros if self.zero_scale else ones
        if self.kind == "batch":
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=BATCH_MOMENTUM,
                epsilon=EPSILON,
                dtype=self.dtype,
                scale_init=scale_init,
                name="batch",
            )(x)
        if self.kind == "group":
            groups = next(g for g in (32, 16, 8, 4, 2, 1) if x.shape[-1] % g == 0)
            return nn.GroupNorm(
                num_groups=groups,
                epsilon=EPSILON,
                dtype=self.dtype,
                scale_init=scale_init,
                name="group",
            )(x)
        bias = self.param("bias", zeros, (x.shape[-1],))
        return x + bias.astype(x.dtype).reshape(1, 1, 1, -1)


NORMS = ("batch", "group", "none")


class ConvNormAct(nn.Module):
    """Convolution, normalisation, ReLU: what heads are made of."""

    features: int
    kernel: int = 3
    dilation: int = 1
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = Conv(
            self.features,
            self.kernel,
            dilation=self.dilation,
            dtype=self.dtype,
            name="conv",
        )(x)
        return nn.relu(Norm(self.norm, dtype=self.dtype, name="norm")(x, train))


class Classifier(nn.Module):
    """Dropout and the convolution to class scores, 1x1 unless said otherwise."""

    num_classes: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    kernel: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Conv(
            self.num_classes, self.kernel, use_bias=True, dtype=self.dtype, name="conv"
        )(x)


def resize(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Bilinear, half-pixel centres (`align_corners=False`), to `[batch, *size, c]`."""
    if x.shape[1:3] == tuple(size):
        return x
    shape = (x.shape[0], *size, x.shape[-1])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def resize_nearest(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Nearest neighbour to `[batch, *size, c]`; by repetition where that is it."""
    height, width = x.shape[1:3]
    if size == (height, width):
        return x
    if size[0] % height == 0 and size[1] % width == 0:
        return x.repeat(size[0] // height, axis=1).repeat(size[1] // width, axis=2)
    return jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "nearest")


def max_pool(x: jax.Array) -> jax.Array:
    """3x3, stride 2, padded by one on each side, as after the 7x7 stem."""
    window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)
