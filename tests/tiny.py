"""Data sets and networks of seconds, which tests of several rooms share."""

import jax

from resseg.blueprint.drawing import Drawing
from resseg.blueprint.network import build_segmenter
from resseg.config import base


def tiny_shapes(data_dir):
    """Config keys: a dozen small images of the procedural data set, batches of four."""
    return {
        "data.dir": str(data_dir),
        "data.batch_size": 4,
        "data.eval_batch_size": 4,
        "data.crop": (32, 32),
        "data.scale": (0.75, 1.5),
        "data.color": 0.2,
        "data.shapes.train_images": 8,
        "data.shapes.val_images": 4,
        "data.shapes.size": (32, 48),
        "data.shapes.objects": 3,
    }


def two_stages(stage_sizes, classes, head="unet", **settings):
    """A segmenter of two stages: most tests do not need four, and compiling is slow."""
    model = base.get_config().model
    model.backbone.stage_sizes, model.backbone.stage_strides = stage_sizes, (2, 2)
    model.backbone.width, model.backbone.stem = 8, "3x3"
    model.backbone.output_stride, model.head.name = 4, head
    model.head.rates = (1, 2, 3) if head.startswith("deeplab") else ()
    model.update_from_flattened_dict(settings)
    return build_segmenter(model, classes)


def drawn(model, *inputs, seed=0, **arguments):
    """`model.init(key, *inputs, **arguments)` to the bit, on the host.

    To compile it takes as long as a train step, and op by op it computes the network.
    """

    def begin(key, *inputs):
        return model.init({"params": key, "dropout": key}, *inputs, **arguments)

    key = jax.random.key(seed)
    return Drawing.of(begin, key, *inputs)(key, *inputs)
