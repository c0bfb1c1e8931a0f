"""What a data set is, and the colours its classes are painted in."""

import dataclasses

LONGEST_SIDE = 32_766  # pixels: OpenCV's warps, which cut training crops, take no more
VOID = 255  # label of a pixel that no loss and no metric counts


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """Names and counts of a prepared data set.

    Attributes:
        name: as in `config.data.name`.
        classes: class names; the position is the class index in the masks.
        splits: split name to number of images.
        bits: in use by images of more than 8, which are stored in 8 (`data.depth`);
            8 where there were none, None where an earlier version recorded nothing.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, int]
    bits: int | None = 8

    @property
    def num_classes(self) -> int:
        return len(self.classes)
