"""The numbers of the terms, named after their keys under `config.loss`."""

import dataclasses
import math

from resseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Settings:
    """Attributes:
        label_smoothing: share of the target spread evenly over all classes, in
            cross-entropy only.
        boundary_smoothing: share of the target that goes to the classes of the eight
            neighbours of a pixel, in cross-entropy only; see `pixels.cross_entropy`.
        focal_gamma: focusing exponent of the focal loss.
        ohem_threshold: a pixel whose true class is less probable is hard.
        ohem_min_kept: least share of the valid pixels of a batch that is kept.
        top_k_share: share of the valid pixels of an image that is kept.
        region_class_weights: whether class weights also weigh the classes of terms that
            look at regions; else those weigh them evenly.
        tversky_alpha: weight of false positives in the Tversky index.
        tversky_beta: weight of false negatives in the Tversky index.
        tversky_gamma: focusing of the Tversky loss; 1 = none.
        hausdorff_power: of the distances in the Hausdorff loss.
        rmi_stride: side of the cells of the region mutual information, pixels.

    Raises:
        UserError: a number out of range.
    """

    label_smoothing: float = 0.0
    boundary_smoothing: float = 0.0
    focal_gamma: float = 2.0
    ohem_threshold: float = 0.7
    ohem_min_kept: float = 0.0625
    top_k_share: float = 0.2
    region_class_weights: bool = False
    tversky_alpha: float = 0.3
    tversky_beta: float = 0.7
    tversky_gamma: float = 1.0
    hausdorff_power: float = 2.0
    rmi_stride: int = 3

    def __post_init__(self) -> None:
        for names, words, allowed in _RANGES:
            for name in names:
                value = getattr(self, name)
                if not allowed(value):
                    raise UserError(f"loss.{name}={value!r}: expected {words}")

    @classmethod
    def names(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls)]


_RANGES = (
    (("label_smoothing", "boundary_smoothing"), "[0, 1)", lambda x: 0 <= x < 1),
    (
        ("focal_gamma", "tversky_alpha", "tversky_beta"),
        "a number >= 0",
        lambda x: 0 <= x < math.inf,
    ),
    (("ohem_threshold", "ohem_min_kept"), "[0, 1]", lambda x: 0 <= x <= 1),
    (("top_k_share",), "(0, 1]", lambda x: 0 < x <= 1),
    (
        ("tversky_gamma", "hausdorff_power", "rmi_stride"),
        "a number > 0",
        lambda x: 0 < x < math.inf,
    ),
)
DEFAULT = Settings()
