"""The peer of `benchmarks.step`: a process that steps a network of torch when told.

    python -m benchmarks.torch_side NETWORK train|infer FORMAT
    python -m benchmarks.torch_side NETWORK weights FILE

FORMAT is channels_last or contiguous, or compiled: channels_last through
`torch.compile`. On a GPU where torch finds one. It prints a JSON line when it is ready,
then reads numbers of steps and answers each with the seconds per step. Weights are of
seed 0; the second command writes them to FILE.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.networks import (
    CLASSES,
    DECAY,
    MOMENTUM,
    NETWORKS,
    RATE,
    Network,
    answer,
)

FORMATS = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
    "compiled": torch.channels_last,
}


def build(network: Network) -> nn.Module:
    """With random weights, seed 0."""
    torch.manual_seed(0)
    if network.layout == "smp":
        import segmentation_models_pytorch as smp

        decoder, encoder = network.name.split("_")
        return getattr(smp, decoder)(encoder, encoder_weights=None, classes=CLASSES)
    if network.layout == "torchvision":
        from torchvision.models import segmentation

        make = getattr(segmentation, network.name)
        return make(weights=None, weights_backbone=None, num_classes=CLASSES)
    return SmallUNet()


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
    )


class Block(nn.Module):
    """Basic residual block, post-activation."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = conv_norm(inputs, outputs, stride)
        self.second = conv_norm(outputs, outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(y + self.shortcut(x), inplace=True)


class SmallUNet(nn.Module):
    """That of configs/nuclei/unet.py: ResNet-18 of width 16, all strides 2."""

    def __init__(self, width: int = 16, decoder: tuple[int, ...] = (64, 32, 16, 8)):
        super().__init__()
        self.stem = conv_norm(3, width)
        widths = [width * 2**stage for stage in range(4)]
        self.stages = nn.ModuleList()
        inputs = width
        for outputs in widths:
            blocks = Block(inputs, outputs, 2), Block(outputs, outputs, 1)
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.merges = nn.ModuleList()
        for skip, outputs in zip([*widths[-2::-1], width], decoder, strict=True):
            first = conv_norm(inputs + skip, outputs)
            self.merges.append(nn.ModuleList([first, conv_norm(outputs, outputs)]))
            inputs = outputs
        self.classifier = nn.Conv2d(inputs, CLASSES, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x), inplace=True)
        skips = []
        for stage in self.stages:
            skips.append(x)
            x = stage(x)
        for first, second in self.merges:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = torch.cat([x, skips.pop()], dim=1)
            x = F.relu(second(F.relu(first(x), inplace=True)), inplace=True)
        return self.classifier(x)


class Stepper:
    """Steps one network on one batch."""

    def __init__(self, network: Network, mode: str, model: nn.Module, form: str):
        memory_format = FORMATS[form]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device, memory_format=memory_format)
        draw, batch = np.random.default_rng(0), network.batch if mode == "train" else 1
        size = (batch, network.side, network.side)
        image = draw.normal(size=(*size, 3)).astype(np.float32)
        image = torch.from_numpy(image).permute(0, 3, 1, 2)
        image = image.to(self.device)
        self.image = image.contiguous(memory_format=memory_format)
        label = torch.from_numpy(draw.integers(0, CLASSES, size))
        self.label = label.to(self.device)
        self.dtype = getattr(torch, network.dtype)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY
        )
        self.model.train(mode == "train")
        if form == "compiled":
            self.loss = torch.compile(self.loss)
            self.scores = torch.compile(self.scores)
        self.step = self.train if mode == "train" else self.infer

    def scores(self) -> torch.Tensor:
        half = self.dtype != torch.float32
        with torch.autocast(self.device, self.dtype, enabled=half):
            found = self.model(self.image)
            return found["out"] if isinstance(found, dict) else found

    def loss(self) -> torch.Tensor:
        return F.cross_entropy(self.scores().float(), self.label)

    def train(self) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def infer(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.scores().sum()


def main(name: str, mode: str, last: str) -> None:
    model = build(NETWORKS[name])
    if mode == "weights":
        tensors = model.state_dict().items()
        np.savez(last, **{key: value.numpy() for key, value in tensors})
        return
    torch.backends.cudnn.benchmark = True  # tries the algorithms, as JAX does
    parameters = sum(value.numel() for value in model.parameters())
    stepper = Stepper(NETWORKS[name], mode, model, last)
    answer(stepper.step, {"parameters": parameters, "version": torch.__version__})


if __name__ == "__main__":
    main(*sys.argv[1:])
