"""Networks and a training step of torch, written out from the equations.

Imported where torch is installed only. Weights are tensors by path in the `params`
collection; the padding, the norms, the resizing and the optimizer are torch's own. Each
copy that a fork makes is `x + e` with an `e` of zeros, whose gradient is the cotangent
of that path.
"""
# ruff: noqa: TID251

import numpy as np
import torch
from torch.nn import functional as F

VOID = 255


class Forward:
    """One pass.

    Args:
        plan: `spell_out(config.model)`, whose numbers alone are used.
        model: `config.model`.
        params, paths: tensors, and numbers, by path.

    Attributes:
        zeros: by "fork path", to be differentiated.
    """

    def __init__(self, plan, model, params, paths):
        self.plan, self.model = plan, model
        self.params, self.paths, self.zeros = params, paths, {}

    def fork(self, x, name, ways, leaf="{}/{}", also=None):
        copies = []
        for way in ways:
            zero = torch.zeros_like(x, requires_grad=True)
            self.zeros[f"{name} {way}"] = zero
            factor = self.paths[leaf.format(name, way)] * (also or {}).get(way, 1.0)
            copies.append(backward_scaled(x + zero, factor))
        return copies

    def conv(self, x, path, strides=1, dilation=1, groups=1):
        kernel = self.params[f"{path}/kernel"]
        pad = dilation * (kernel.shape[-1] - 1) // 2
        bias = self.params.get(f"{path}/bias")
        return F.conv2d(x, kernel, bias, strides, pad, dilation, groups)

    def norm(self, x, path):
        kind = self.model.norm
        if kind == "none":
            return x + self.params[f"{path}/bias"][:, None, None]
        scale, bias = (self.params[f"{path}/{kind}/{p}"] for p in ("scale", "bias"))
        if kind == "group":
            fit = [g for g in (32, 16, 8, 4, 2, 1) if x.shape[1] % g == 0]
            groups = next(g for g in fit if g == 1 or x.shape[1] >= 4 * g)
            return F.group_norm(x, groups, scale, bias, 1e-5)
        return F.batch_norm(x, None, None, scale, bias, True, 0.1, 1e-5)

    def gate(self, x, path, strides=1):
        x = self.conv(x, f"{path}/conv", strides)
        return torch.sigmoid(x + self.params[f"{path}/bias"][:, None, None])

    def projected(self, x, path, features, strides):
        if self.plan.transition == "A" and (strides > 1 or x.shape[1] != features):
            missing = features - x.shape[1]
            return F.pad(x[:, :, ::strides, ::strides], (0, 0, 0, 0, 0, missing))
        if f"{path}/conv/kernel" not in self.params:
            return x
        if self.plan.transition == "D" and strides > 1:
            x, strides = F.avg_pool2d(x, 2, strides, ceil_mode=True), 1
        x = self.conv(x, f"{path}/conv", strides)
        return x if self.plan.order == "pre" else self.norm(x, f"{path}/norm")

    def branch(self, x, path, strides, dilation, block, activated):
        order = self.plan.order
        layers = [(strides, dilation), (1, dilation)]
        if block == "bottleneck":
            on_first = self.plan.stride_on == "1x1"
            layers = [(1, 1), (strides, dilation), (1, 1)]
            layers = [(strides, 1), (1, dilation), (1, 1)] if on_first else layers
        for i, (stride, spread) in enumerate(layers, 1):
            last = i == len(layers)
            if order == "pre" and not (activated and i == 1):
                x = F.relu(self.norm(x, f"{path}/norm{i}"))
            if order == "relu_only_pre":
                x = F.relu(x)
            x = self.conv(x, f"{path}/conv{i}", stride, spread)
            if order != "pre" and not (order == "bn_after_add" and last):
                x = self.norm(x, f"{path}/norm{i}")
            if order == "relu_before_add" or (order in POST and not last):
                x = F.relu(x)
        return x

    def block(self, x, name, features, strides=1, dilation=1, kind=None):
        order, shortcut = self.plan.order, self.model.shortcut.kind
        changes = strides > 1 or x.shape[1] != features
        activated = order == "pre" and changes
        if activated:
            x = F.relu(self.norm(x, f"{name}/norm"))
        ways = ["shortcut", "branch"] + ["gate"] * shortcut.startswith("gate")
        bypass = 1 - self.paths[f"{name}/bypass"]
        copies = self.fork(x, name, ways, "{}/fork/{}", {"branch": bypass})
        carried, computed, *gates = copies
        carried = self.projected(carried, f"{name}/shortcut", features, strides)
        carried = carried * self.paths[f"{name}/shortcut_factor/factor"]
        kind = kind or self.plan.block
        computed = self.branch(
            computed, f"{name}/branch", strides, dilation, kind, activated
        )
        computed = computed * self.paths[f"{name}/branch_factor/factor"]
        if gates:
            g = self.gate(gates[0], f"{name}/gate", strides)
            carried = (1 - g) * carried
            computed = g * computed if shortcut == "gate_exclusive" else computed
        computed = backward_scaled(computed, self.paths[f"{name}/branch_out"])
        x = carried + computed
        if order == "bn_after_add":
            x = self.norm(x, f"{name}/norm_sum")
        return F.relu(x) if order in POST else x

    def final(self, x, path):
        if self.plan.order == "relu_only_pre":
            return F.relu(x)
        return F.relu(self.norm(x, path)) if self.plan.order == "pre" else x

    def backbone(self, x, skips, aux):
        plan, features = self.plan, {}
        strides = {"3x3": {"": 1}, "7x7": {"": 2}, "deep": {"1": 2, "2": 1, "3": 1}}
        for number, stride in strides[plan.stem].items():
            x = self.conv(x, f"backbone/stem/conv{number}", stride)
            if plan.order != "pre" or number != list(strides[plan.stem])[-1]:
                x = F.relu(self.norm(x, f"backbone/stem/norm{number}"))
        x = self.leave(x, "stem", skips, aux, features)
        x = x if plan.stem == "3x3" else F.max_pool2d(x, 3, 2, 1)
        reached = 1 if plan.stem == "3x3" else 4
        dilation, width = 1, plan.width * (4 if plan.block == "bottleneck" else 1)
        for stage, (size, stride) in enumerate(
            zip(plan.stage_sizes, plan.stage_strides, strict=True), 1
        ):
            before = dilation
            if reached * stride > plan.output_stride:
                dilation, stride = dilation * stride, 1
            reached *= stride
            for i in range(size):
                x = self.block(
                    x,
                    f"backbone/stage{stage}/block{i + 1}",
                    width * 2 ** (stage - 1),
                    1 if i else stride,
                    dilation if i else before,
                )
            x = self.leave(x, f"stage{stage}", skips, aux, features)
        features["deepest"] = self.final(x, "backbone/final")
        return features

    def leave(self, x, stage, skips, aux, features):
        if stage == aux:
            name = f"backbone/auxiliary_{stage}"
            out, x = self.fork(x, name, ("aux", "deeper"))
            features["aux"] = self.final(out, f"{name}_exit")
        if stage in skips:
            name = f"backbone/long_skip_{stage}"
            out, x = self.fork(x, name, ("skip", "deeper"))
            features[stage] = self.final(out, f"{name}_exit")
        return x

    def long_skip(self, x, stage):
        path = f"head/skip_factor_{stage}"
        if self.model.long_skip.kind == "gate":
            x = x * self.gate(x, f"{path}/gate")
        return x * self.paths[f"{path}/factor"]

    def layer(self, x, path, dilation=1):
        if f"{path}/depthwise/kernel" in self.params:
            x = self.conv(x, f"{path}/depthwise", 1, dilation, x.shape[1])
            dilation = 1
        x = self.conv(x, f"{path}/conv", 1, dilation)
        return F.relu(self.norm(x, f"{path}/norm"))

    def unet(self, features, skips):
        x, i = features["deepest"], 0
        for i, stage in enumerate(skips[::-1], 1):
            skip = self.long_skip(features[stage], stage)
            x = F.interpolate(x, skip.shape[2:], mode="nearest")
            if self.model.long_skip.kind == "add":
                x = self.conv(x, f"head/merge_{stage}") + skip
            else:
                x = torch.cat([x, skip], 1)
            x = self.decoder(x, i)
        if self.plan.stem != "3x3":
            x = self.decoder(F.interpolate(x, scale_factor=2, mode="nearest"), i + 1)
        return self.conv(x, "head/classifier/conv")

    def decoder(self, x, level):
        name = f"head/decoder{level}"
        if self.model.head.name == "resunet":
            features = self.params[f"{name}/branch/conv1/kernel"].shape[0]
            return self.block(x, name, features, kind="basic")
        return self.layer(self.layer(x, f"{name}/conv1"), f"{name}/conv2")

    def fcn(self, x, path):
        return self.conv(self.layer(x, f"{path}/conv"), f"{path}/classifier/conv")

    def fcn8s(self, features, skips):
        x = self.conv(features["deepest"], f"head/score_{self.plan.stages[-1]}/conv")
        for stage in skips[::-1]:
            skip = self.conv(features[stage], f"head/score_{stage}/conv")
            skip = self.long_skip(skip, stage)
            ratio = round(skip.shape[2] / x.shape[2])
            if ratio > 1:
                kernel = self.params[f"head/upsample_{stage}/kernel"]
                # From a convolution of the spread input to torch's transposed one.
                kernel = kernel.flip(2, 3).transpose(0, 1)
                x = F.conv_transpose2d(x, kernel, None, ratio, ratio // 2)
            x = x + skip
        return x

    def pyramid(self, x):
        rates = self.model.head.rates
        names = ("conv1x1", *(f"rate{rate}" for rate in rates), "pool")
        copies = self.fork(x, "head/pyramid", names, "{}/fork/{}")
        dilations = (1, *rates, 1)
        copies[-1] = copies[-1].mean((2, 3), keepdim=True)
        outs = [
            self.layer(copy, f"head/pyramid/{name}", dilation)
            for copy, name, dilation in zip(copies, names, dilations, strict=True)
        ]
        outs[-1] = outs[-1].expand_as(outs[0])
        return self.layer(torch.cat(outs, 1), "head/pyramid/project")

    def deeplab(self, features, skips):
        x = self.pyramid(features["deepest"])
        if not self.model.head.name.endswith("plus"):
            x = self.layer(x, "head/conv")
            return self.conv(x, "head/classifier/conv")
        for stage in skips:
            skip = self.layer(self.long_skip(features[stage], stage), "head/low_level")
            x = torch.cat([resized(x, skip.shape[2:]), skip], 1)
        x = self.layer(self.layer(x, "head/conv1"), "head/conv2")
        return self.conv(x, "head/classifier/conv")

    def __call__(self, images, skips, aux):
        """Scores, and those of the auxiliary head, at the size of the image."""
        features, name = self.backbone(images, skips, aux), self.model.head.name
        if "unet" in name:
            scores = [self.unet(features, skips)]
        elif name == "fcn":
            scores = [self.fcn(features["deepest"], "head")]
        elif name.startswith("fcn"):
            scores = [self.fcn8s(features, skips)]
        else:
            scores = [self.deeplab(features, skips)]
        if aux:
            scores.append(self.fcn(features["aux"], "aux"))
        return [resized(score, images.shape[2:]) for score in scores]


POST = ("post", "bn_after_add")


def backward_scaled(x, factor):
    """`x`, whose cotangent is multiplied."""
    return x.detach() + factor * (x - x.detach())


def resized(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


class Training:
    """SGD with momentum, decay on kernels alone, on `cross_entropy`.

    Args:
        params: numpy arrays by path, channels last.
        settings: rate, momentum, weight_decay, aux_weight.
    """

    def __init__(self, plan, model, params, paths, skips, aux, settings):
        self.parts = plan, model
        self.params = {k: tensor_of(x).requires_grad_() for k, x in params.items()}
        self.paths, self.skips, self.aux = paths, skips, aux
        self.settings = settings
        decays = {k: k.endswith("/kernel") and "/gate/" not in k for k in params}
        groups = [
            {
                "params": [x for k, x in self.params.items() if decays[k] == decayed],
                "weight_decay": settings["weight_decay"] * decayed,
            }
            for decayed in (True, False)
        ]
        rate, momentum = settings["rate"], settings["momentum"]
        self.optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum)

    def step(self, images, labels):
        """Loss, norm of the gradient, and by "fork path" the sum of squares."""
        forward = Forward(*self.parts, self.params, self.paths)
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        target = torch.from_numpy(labels.astype(np.int64))
        values = [
            F.cross_entropy(score, target, ignore_index=VOID)
            for score in forward(x, self.skips, self.aux)
        ]
        loss = values[0] + sum(self.settings["aux_weight"] * v for v in values[1:])
        self.optimizer.zero_grad()
        loss.backward()
        norm = sum(x.grad.square().sum() for x in self.params.values()) ** 0.5
        self.optimizer.step()
        squares = {k: zero.grad.square().sum() for k, zero in forward.zeros.items()}
        return loss.item(), norm.item(), {k: x.item() for k, x in squares.items()}


def tensor_of(array):
    """Kernels as torch has them: `[out, in, height, width]`."""
    array = np.array(array)
    return torch.from_numpy(
        array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array
    )
