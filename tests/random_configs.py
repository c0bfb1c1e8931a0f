"""Random valid configs at tiny sizes, which tests of networks and of runs draw from."""

import hypothesis
import hypothesis.strategies as st

from resseg.config.heads import HEADS
from resseg.config.load import load_config
from resseg.config.rows import KEYS
from resseg.errors import UserError

BASE = "base"

# depth -> how few blocks its stages may have
SIZES = {
    10: [(), (1, 2, 1, 1)],
    18: [(1, 1, 1, 1), (1, 1, 2), (2, 1)],
    20: [(1, 1, 1), (2, 1, 1)],
    50: [(1, 1, 1, 1), (1, 2)],
}


def choices(key):
    return st.sampled_from(list(KEYS[key].value.options))


BACKBONE = {
    "model.norm": choices("model.norm"),
    "model.weight_standardization": st.booleans(),
    "model.backbone.variant": choices("model.backbone.variant"),
    "model.backbone.order": choices("model.backbone.order"),
    "model.backbone.block": choices("model.backbone.block"),
    "model.backbone.stem": choices("model.backbone.stem"),
    "model.backbone.width": st.sampled_from([4, 6, 8]),
    "model.backbone.output_stride": st.sampled_from([0, 0, 2, 4, 8, 16, 32]),
    "model.backbone.dilation": choices("model.backbone.dilation"),
    "model.backbone.multi_grid": st.sampled_from([(), (2,), (1, 2)]),
    "model.backbone.expansion": st.sampled_from([1, 2, 6]),
    "model.backbone.se_reduction": st.sampled_from([0, 2]),
    "model.branch.init": choices("model.branch.init"),
    "model.backbone.width_factor": st.sampled_from([1.0, 0.5, 2.0]),
    "model.shortcut.kind": choices("model.shortcut.kind"),
    "model.shortcut.transition": choices("model.shortcut.transition"),
    "model.shortcut.span": st.sampled_from([0, 1, 3]),
    "model.shortcut.scale": st.sampled_from([1.0, 0.5]),
    "model.branch.learn": choices("model.branch.learn"),
    "model.gradient.shortcut": st.sampled_from([1.0, 0.5]),
    "model.gradient.branch_in": st.sampled_from([1.0, 0.5]),
    "model.gradient.bypass": st.sampled_from([0.0, 0.5]),
    "model.gradient.detach_rate": st.sampled_from([0.0, 0.5]),
    "model.gradient.normalize": choices("model.gradient.normalize"),
    "model.gradient.surgery": choices("model.gradient.surgery"),
    "model.gradient.clip_sites": st.sampled_from([0.0, 0.1]),
    "model.shortcut.first": st.sampled_from([0.0, 0.2]),
    "model.shortcut.streams": st.sampled_from([1, 2]),
    "model.shortcut.mixing": choices("model.shortcut.mixing"),
    "model.branch.orthogonal": choices("model.branch.orthogonal"),
    "model.branch.delta": st.sampled_from([0.0, 1.0]),
}
LAYOUTS = [name for name in KEYS["model.backbone.layout"].value.options if name]
REGULARISERS = {
    "model.backbone.dropout": st.sampled_from([0.0, 0.2]),
    "model.backbone.stochastic_depth": st.sampled_from([0.0, 0.2]),
    "model.branch.drop_rate": st.sampled_from([0.0, 0.2]),
    "model.branch.shake": choices("model.branch.shake"),
    "model.drop_block.rate": st.sampled_from([0.0, 0.1]),
    "model.drop_block.where": choices("model.drop_block.where"),
    "model.head.dropout": st.sampled_from([0.0, 0.1]),
}
# What trains it. Of rates and strengths one that is not the default.
LEARNING = {
    **{
        key: st.sampled_from([0.0, 1.0])
        for key in KEYS
        if key.startswith("loss.terms.") and key != "loss.terms.cross_entropy"
    },
    "loss.class_weights": st.sampled_from([(), "median_frequency"]),
    "loss.label_smoothing": st.sampled_from([0.0, 0.1]),
    "loss.boundary_smoothing": st.sampled_from([0.0, 0.2]),
    "loss.region_class_weights": st.booleans(),
    "optim.name": choices("optim.name"),
    "optim.schedule": choices("optim.schedule"),
    "optim.warmup_steps": st.sampled_from([0, 1]),
    "optim.norm_weight_decay": st.sampled_from([0.0, 0.01]),
    "optim.layer_factor": st.sampled_from([1.0, 0.8]),
    "optim.freeze": st.sampled_from([(), ("stem",), ("stem", "stage1")]),
    "optim.clip_norm": st.sampled_from([None, 1.0]),
    "optim.sam_rho": st.sampled_from([0.0, 0.05]),
    "optim.ema": st.sampled_from([0.0, 0.9]),
    "optim.swa_start": st.sampled_from([0, 1]),
    "optim.loss_scale": st.sampled_from([0.0, 2.0]),
    "train.accumulate": st.sampled_from([1, 2]),
    "train.remat": choices("train.remat"),
    "train.on_nonfinite": st.sampled_from(["stop", "skip"]),
    "model.dtype": choices("model.dtype"),
    "model.head.deep_supervision": st.sampled_from([0.0, 0.5]),
    "data.mixup": st.sampled_from([0.0, 0.4]),
    "data.mosaic": st.sampled_from([0.0, 1.0]),
    "data.cutmix": st.sampled_from([0.0, 1.0]),
    "data.classmix": st.sampled_from([0.0, 1.0]),
    "data.elastic": st.sampled_from([0.0, 3.0]),
    "data.grid_distortion": st.sampled_from([0.0, 0.2]),
    "data.hue": st.sampled_from([0.0, 0.1]),
    "data.blur": st.sampled_from([0.0, 1.0]),
    "data.jpeg": st.sampled_from([0, 50]),
    "data.cutout": st.sampled_from([0.0, 0.3]),
    "data.rotate": st.sampled_from([0.0, 15.0]),
    "data.rare_crop": st.sampled_from([0.0, 0.5]),
    "log.gradients.every": st.sampled_from([1, 2]),
}
BOTTLENECK = {
    "model.backbone.groups": st.sampled_from([1, 2]),
    "model.backbone.group_width": st.sampled_from([64, 32]),
    "model.backbone.stride_on": choices("model.backbone.stride_on"),
}
PYRAMID = {
    "model.head.width": st.sampled_from([0, 8]),
    "model.head.rates": st.sampled_from([(), (1, 2, 3)]),
    "model.head.separable": st.booleans(),
}
HEAD = {
    "model.head.align_corners": st.booleans(),
    "model.long_skip.kind": choices("model.long_skip.kind"),
    "model.long_skip.scale": st.sampled_from([1.0, 0.5]),
    "model.aux.weight": st.sampled_from([0.0, 0.4]),
    "model.long_skip.learn": choices("model.long_skip.learn"),
    "model.long_skip.wiring": st.sampled_from([(), (1, 0), (2, 0, 1), (3, 1, 0, 2)]),
}


def departing(draw, keys, odds):
    """One of `odds` keys, drawn from its values; the others stay at their defaults.

    Whatever is drawn uniformly is refused by one rule or another.
    """
    return {
        key: draw(values)
        for key, values in keys.items()
        if draw(st.integers(1, odds)) == 1
    }


@st.composite
def trainings(draw):
    """Overrides of whole trainings: networks, and all that trains them."""
    drawn = draw(overrides())
    drawn |= departing(draw, LEARNING, 8) | departing(draw, REGULARISERS, 5)
    layout = draw(st.integers(1, 12)) == 1
    if layout:
        kept = ("model.head.", "model.long_skip.", "model.aux.", "data.")
        drawn = {key: drawn[key] for key in drawn if key.startswith(kept)}
        drawn |= {"model.backbone.layout": draw(st.sampled_from(LAYOUTS))}
        drawn |= {"model.backbone.width_factor": 0.25}
    return drawn


@st.composite
def overrides(draw):
    """Overrides of `resseg.config.base`, most of which make a valid config."""
    drawn = {"model.backbone.depth": draw(st.sampled_from(sorted(SIZES)))}
    sizes = draw(st.sampled_from(SIZES[drawn["model.backbone.depth"]]))
    drawn["model.backbone.stage_sizes"] = sizes
    strides = [(), (1, 2, 2, 2), (2, 2, 2, 2), (1, 1, 2, 2)]
    if sizes and len(sizes) < 4:
        strides = [stride[: len(sizes)] for stride in strides[1:]]
    drawn["model.backbone.stage_strides"] = draw(st.sampled_from(strides))
    drawn["model.head.name"] = head = draw(choices("model.head.name"))
    keys = BACKBONE | HEAD
    if drawn["model.backbone.depth"] == 50:
        keys |= BOTTLENECK
    if "rates" in HEADS[head].keys:
        keys |= PYRAMID
    if "convs" in HEADS[head].keys:
        keys |= {"model.head.convs": st.sampled_from([(0, 2), (1, 1)])}
    drawn |= departing(draw, keys, 3)
    drawn["model.backbone.width"] = draw(BACKBONE["model.backbone.width"])
    drawn["data.crop"] = draw(st.sampled_from([(64, 64), (64, 32), (32, 32)]))
    return drawn


def valid(drawn):
    """The config of what is drawn, less the keys that a rule refuses by name."""
    drawn = dict(drawn)
    while True:
        try:
            return load_config(BASE, drawn)
        except UserError as error:
            refused = str(error).partition("=")[0].removeprefix("config.")
            if refused not in drawn:
                hypothesis.reject()
            del drawn[refused]


SETTINGS = hypothesis.settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
