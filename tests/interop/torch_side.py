"""The real networks of torchvision, timm and segmentation_models.pytorch.

Imported where torch is installed only.
"""
# ruff: noqa: TID251

import numpy as np
import torch
from drawn import CLASSES, LEARNING_RATE, images, labels, weights
from torch import nn


def torchvision():
    """The package, also where its compiled operators do not match the torch at hand.

    Its import asks for two of them, which no network here uses.
    """
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        _kept.append(library)  # what it defines goes when it goes
        import torchvision
    return torchvision


_kept = []


def build(layout, name, aux=False):
    """The module, not trained, dropout off, its weights not ours yet."""
    models = torchvision().models
    if layout == "torchvision" and "_resnet" in name and not name.startswith("wide"):
        arguments = {"num_classes": CLASSES, "aux_loss": aux}
        factory = getattr(models.segmentation, name)
        module = factory(weights=None, weights_backbone=None, **arguments)
    elif layout == "torchvision":
        module = getattr(models, name)(weights=None)
    elif layout == "timm":
        import timm

        module = timm.create_model(name, pretrained=False)
    else:
        import segmentation_models_pytorch as smp

        head, _, encoder = name.partition("_")
        module = getattr(smp, head)(encoder, encoder_weights=None, classes=CLASSES)
    for part in module.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d):
            part.p = 0.0
    return module


def lraspp():
    """torchvision's class on its ResNet-50 of output stride 16."""
    library = torchvision().models
    resnet = library.resnet50(
        weights=None, replace_stride_with_dilation=[False, False, True]
    )
    layers = {"layer2": "low", "layer4": "high"}
    backbone = library._utils.IntermediateLayerGetter(resnet, layers)
    return library.segmentation.LRASPP(backbone, 512, 2048, CLASSES)


def shapes(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def load(module):
    """Puts the drawn weights in; returns the module."""
    put(module, weights(shapes(module)))
    return module


def put(module, arrays):
    """Loads arrays by name; refuses one too many or too few."""
    tensors = {
        name: torch.from_numpy(np.array(array)) for name, array in arrays.items()
    }
    module.load_state_dict(tensors, strict=True)


def scores(module, height, width):
    """Logits by name in eval mode, channels last: "out" and perhaps "aux"."""
    with torch.no_grad():
        return {
            name: _last(value).numpy()
            for name, value in _outputs(module.eval(), _input(1, height, width)).items()
        }


def step(module, count, height, width):
    """One SGD step on the mean cross-entropy; returns the state dict after it."""
    module.train()
    out = _last(_outputs(module, _input(count, height, width))["out"])
    wanted = labels(tuple(out.shape[:-1]), out.shape[-1])
    loss = nn.functional.cross_entropy(
        out.reshape(-1, out.shape[-1]), torch.from_numpy(wanted.reshape(-1))
    )
    loss.backward()
    torch.optim.SGD(module.parameters(), lr=LEARNING_RATE).step()
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def _input(count, height, width):
    return torch.from_numpy(images(count, height, width).transpose(0, 3, 1, 2).copy())


def _outputs(module, x):
    out = module(x)
    return out if isinstance(out, dict) else {"out": out}


def _last(scores):
    return scores.permute(0, 2, 3, 1) if scores.ndim == 4 else scores
