"""A training written out in plain jax, float64: nothing of `resseg` is called here.

The network is a U-Net on three gated blocks, with everything on at once: auxiliary
head, dropout, stochastic depth, detached branches, factors on every path. Each copy
that a fork makes is `x + e` with an `e` of zeros; the gradient with respect to `e` is
the cotangent of that path. What is drawn, `draws_of`, goes by flax's rule for keys.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

VOID = 255
STAGE1, STAGE2 = "backbone/stage1/block", "backbone/stage2/block"
# Name, features, strides, of the blocks in depth order.
BLOCKS = ((f"{STAGE1}1", 8, 2), (f"{STAGE1}2", 8, 1), (f"{STAGE2}1", 16, 2))
WAYS = ("shortcut", "branch", "gate")


def fold(key, *words):
    """flax's key of a module's draw: path and number of the draw are hashed."""
    digest = hashlib.sha1()
    for word in words:
        if isinstance(word, int):
            word = word.to_bytes((word.bit_length() + 7) // 8, "big")
        digest.update(word.encode() if isinstance(word, str) else word)
    number = int.from_bytes(digest.digest()[:4], "big")
    return jax.random.fold_in(key, np.uint32(number))


def draws_of(seed, step, settings, batch):
    """What a step draws: factors of dropout, of each sample, of each block's branch."""
    key = jax.random.fold_in(jax.random.key(seed), step)

    def kept(path, rate, shape):
        drawn = jax.random.bernoulli(fold(key, *path.split("/"), 1), 1 - rate, shape)
        return np.asarray(drawn) / (1 - rate)

    draws, side = {}, settings["side"]
    for i, (name, features, strides) in enumerate(BLOCKS):
        side //= strides
        shape = (batch, side, side, features)
        inner = f"{name}/branch/Dropout_0"
        draws[inner] = kept(inner, settings["dropout"], shape)
        depth = f"{name}/Dropout_0"
        rate = settings["stochastic_depth"] * i / (len(BLOCKS) - 1)
        draws[depth] = kept(depth, rate, (batch, 1, 1, 1)) if rate else 1.0
        draws[name] = float(kept(name, np.float32(settings["detach"][i]), ()))
    whole = settings["side"]
    head, aux = "head/classifier/Dropout_0", "aux/classifier/Dropout_0"
    draws[head] = kept(head, settings["head_dropout"], (batch, whole, whole, 8))
    draws[aux] = kept(aux, 0.1, (batch, whole // 2, whole // 2, 2))
    return draws


class Forward:
    """One pass: its parameters, statistics, coefficients, draws and zeros by path.

    Attributes:
        statistics: running means and variances after it.
        forks: shape of what enters each fork, in the order in which they are met.
        addends: what both ways of each block add.
    """

    def __init__(self, params, statistics, paths, draws, zeros):
        self.params, self.statistics = params, dict(statistics)
        self.paths, self.draws, self.zeros = paths, draws, zeros
        self.forks, self.addends = {}, {}

    @property
    def trains(self):
        return self.draws is not None

    def dropped(self, x, path):
        return x * self.draws[path] if self.trains else x

    def fork(self, x, name, ways, factors):
        """Copies of `x`; their cotangents are multiplied, and meet the zeros."""
        self.forks[name] = x.shape
        copies = []
        for way, factor in zip(ways, factors, strict=True):
            copy = x
            if self.zeros is not None:
                copy = x + self.zeros[f"{name} {way}"]
            copies.append(backward_scaled(copy, factor))
        return copies

    def conv(self, x, path, strides=1):
        kernel = self.params[f"{path}/kernel"]
        pad = (kernel.shape[0] // 2,) * 2
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (strides, strides),
            (pad, pad),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def norm(self, x, path):
        mean = self.statistics[f"{path}/batch/mean"]
        var = self.statistics[f"{path}/batch/var"]
        if self.trains:
            count = x[..., 0].size
            now, spread = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.statistics[f"{path}/batch/mean"] = 0.9 * mean + 0.1 * now
            self.statistics[f"{path}/batch/var"] = 0.9 * var + 0.1 * spread * count / (
                count - 1
            )
            mean, var = now, spread
        scale, bias = (self.params[f"{path}/batch/{x}"] for x in ("scale", "bias"))
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    def gate(self, x, path, strides=1):
        z = self.conv(x, f"{path}/conv", strides) + self.params[f"{path}/bias"]
        return 1 / (1 + jnp.exp(-z))

    def block(self, x, name, strides):
        leaf = {key: self.paths[f"{name}/{key}"] for key in BLOCK_LEAVES}
        to_branch = leaf["fork/branch"] * (1 - leaf["bypass"])
        if self.trains:
            to_branch = to_branch * self.draws[name]
        factors = leaf["fork/shortcut"], to_branch, leaf["fork/gate"]
        shortcut, branch, gate = self.fork(x, name, WAYS, factors)
        g = self.gate(gate, f"{name}/gate", strides)
        if f"{name}/shortcut/conv/kernel" in self.params:
            shortcut = self.conv(shortcut, f"{name}/shortcut/conv", strides)
            shortcut = self.norm(shortcut, f"{name}/shortcut/norm")
        carried = (1 - g) * leaf["shortcut_factor/factor"] * shortcut
        h = self.conv(branch, f"{name}/branch/conv1", strides)
        h = jax.nn.relu(self.norm(h, f"{name}/branch/norm1"))
        h = self.dropped(h, f"{name}/branch/Dropout_0")
        h = self.norm(self.conv(h, f"{name}/branch/conv2"), f"{name}/branch/norm2")
        h = g * self.params[f"{name}/branch_factor/factor"] * h
        computed = backward_scaled(h, leaf["branch_out"])
        computed = self.dropped(computed, f"{name}/Dropout_0")
        self.addends[name] = carried, computed
        return jax.nn.relu(carried + computed)

    def leave(self, x, stage):
        name = f"backbone/long_skip_{stage}"
        factors = self.paths[f"{name}/skip"], self.paths[f"{name}/deeper"]
        return self.fork(x, name, ("skip", "deeper"), factors)

    def long_skip(self, x, stage):
        path = f"head/skip_factor_{stage}"
        return x * self.gate(x, f"{path}/gate") * self.paths[f"{path}/factor"]

    def decoded(self, x, path):
        for part in ("conv1", "conv2"):
            x = self.conv(x, f"{path}/{part}/conv")
            x = jax.nn.relu(self.norm(x, f"{path}/{part}/norm"))
        return x

    def scores(self, x, path):
        x = self.dropped(x, f"{path}/Dropout_0")
        return self.conv(x, f"{path}/conv") + self.params[f"{path}/conv/bias"]

    def __call__(self, images):
        """Logits, and those of the auxiliary head."""
        x = self.conv(images, "backbone/stem/conv")
        x = jax.nn.relu(self.norm(x, "backbone/stem/norm"))
        stem, x = self.leave(x, "stem")
        for name, _, strides in BLOCKS[:2]:
            x = self.block(x, name, strides)
        auxiliary = "backbone/auxiliary_stage1"
        factors = self.paths[f"{auxiliary}/aux"], self.paths[f"{auxiliary}/deeper"]
        aux, x = self.fork(x, auxiliary, ("aux", "deeper"), factors)
        stage1, x = self.leave(x, "stage1")
        name, _, strides = BLOCKS[2]
        x = self.block(x, name, strides)
        for number, (skip, stage) in enumerate(((stage1, "stage1"), (stem, "stem"))):
            x = x.repeat(2, 1).repeat(2, 2)
            x = jnp.concatenate([x, self.long_skip(skip, stage)], -1)
            x = self.decoded(x, f"head/decoder{number + 1}")
        aux = jax.nn.relu(self.norm(self.conv(aux, "aux/conv/conv"), "aux/conv/norm"))
        aux = enlarged(self.scores(aux, "aux/classifier"))
        return self.scores(x, "head/classifier"), aux


BLOCK_LEAVES = (
    "fork/shortcut",
    "fork/branch",
    "fork/gate",
    "bypass",
    "branch_out",
    "shortcut_factor/factor",
)


def backward_scaled(x, factor):
    """`x`, whose cotangent is multiplied."""
    fixed = jax.lax.stop_gradient(x)
    return fixed + factor * (x - fixed)


def enlarged(x):
    """Twofold, bilinear, by the centres of pixels."""
    for axis in (1, 2):
        size = x.shape[axis]
        places = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
        weights = np.maximum(1 - np.abs(places[:, None] - np.arange(size)), 0)
        x = jnp.moveaxis(jnp.tensordot(weights, x, ((1,), (axis,))), 0, axis)
    return x


def losses(logits, label, settings):
    """Cross-entropy, Dice and focal loss of the labelled pixels, and their number."""
    classes = logits.shape[-1]
    valid = label != VOID
    pixels = valid.sum()
    truth = jnp.eye(classes)[jnp.where(valid, label, 0)] * valid[..., None]
    p = jnp.exp(logits - jax.scipy.special.logsumexp(logits, -1, keepdims=True))
    smooth = settings["label_smoothing"]
    target = (1 - smooth) * truth + smooth / classes * valid[..., None]
    weights = truth @ np.asarray(settings["class_weights"])
    cross = -(weights * (target * jnp.log(p)).sum(-1)).sum() / pixels
    right = jnp.where(valid, (truth * p).sum(-1), 0.5)
    focal = -(weights * (1 - right) ** settings["gamma"] * jnp.log(right))
    focal = (focal * valid).sum() / pixels
    p = p * valid[..., None]
    present = truth.sum((0, 1, 2)) > 0
    overlap, mass = (truth * p).sum((0, 1, 2)), (truth + p).sum((0, 1, 2))
    dice = 1 - (present * 2 * overlap / mass).sum() / present.sum()
    parts = {"cross_entropy": cross, "dice": dice, "focal": focal}
    total = sum(settings["terms"][name] * value for name, value in parts.items())
    return total, parts | {"loss_pixels": pixels}


def on_line(line, step):
    start, end, first, last = line
    way = np.clip((step - first) / max(last - first, 1), 0, 1)
    return start + (end - start) * way


def learning_rate(step, settings):
    """Linear from zero, then half a cosine down to a share of the peak."""
    warm, steps, end = (settings[key] for key in ("warmup", "steps", "end_factor"))
    if step < warm:
        return settings["peak"] * step / warm
    way = (step - warm) / (steps - warm)
    return settings["peak"] * (end + (1 - end) * (1 + np.cos(np.pi * way)) / 2)


def adamw(state, gradients, step, settings):
    """New moments and the update: clipped, decoupled decay, the backbone slower."""
    b1, b2 = settings["b1"], settings["b2"]
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
    clip = min(1.0, settings["clip"] / norm)
    rate, updates = learning_rate(step, settings), {}
    for path, g in gradients.items():
        g = g * clip
        m = state["m"][path] = b1 * state["m"][path] + (1 - b1) * g
        v = state["v"][path] = b2 * state["v"][path] + (1 - b2) * g**2
        m, v = m / (1 - b1 ** (step + 1)), v / (1 - b2 ** (step + 1))
        update = m / (np.sqrt(v) + 1e-8)
        if path.endswith("/kernel") and "/gate/" not in path:
            update = update + settings["weight_decay"] * state["params"][path]
        slower = settings["backbone_factor"] if path.startswith("backbone/") else 1.0
        updates[path] = -rate * slower * update
    return updates, norm, clip, rate


def averaged(ema, params, step, settings):
    """d is what its warm-up allows, (1 + step) / (10 + step)."""
    d = min(settings["ema"], (1 + step) / (10 + step))
    return {path: d * ema[path] + (1 - d) * x for path, x in params.items()}
