"""Residual networks in image segmentation, the gradient of every shortcut measured.

The names below are loaded when they are first used, so that `import resseg` and
`resseg --help` never wait for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from resseg import xla

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from resseg.config.load import load_config
    from resseg.inference.segmenter import Segmenter, segment
    from resseg.models.network import SegmentationNetwork
    from resseg.runs import open_run

__version__ = "0.1.0"
__all__ = [
    "Segmenter",
    "__version__",
    "build_model",
    "load_config",
    "open_run",
    "segment",
]

xla.set_flags()
_HOMES = {
    "Segmenter": "resseg.inference.segmenter",
    "segment": "resseg.inference.segmenter",
    "load_config": "resseg.config.load",
    "open_run": "resseg.runs",
}


def build_model(
    config: "ConfigDict", num_classes: int | None = None
) -> "SegmentationNetwork":
    """The network of a config: `module.apply(variables, images)["logits"]` is float32
    `[batch, height, width, classes]` at the size of the images.

    `variables` are params and batch_stats; with paths too, its coefficients are those
    and not the ones of the config.

    Args:
        config: as `load_config` returns it.
        num_classes: void not counted; None = ask the data set that the config names.

    Raises:
        UserError: that data set is not prepared.

    Example:
        >>> import jax
        >>> import resseg
        >>> config = resseg.load_config("quickstart", {"model.backbone.width": 4})
        >>> model = resseg.build_model(config, num_classes=3)
        >>> images = jax.numpy.zeros((2, 32, 48, 3))
        >>> key = jax.random.key(0)
        >>> jax.eval_shape(model.init_with_output, key, images)[0]["logits"].shape
        (2, 32, 48, 3)
    """
    from resseg.blueprint.network import build_segmenter
    from resseg.data.sources import dataset_spec

    if num_classes is None:
        num_classes = dataset_spec(config.data).num_classes
    return build_segmenter(config.model, num_classes)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'resseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
