"""Where the stages of a backbone stride, and where they dilate in place of it."""

from collections.abc import Sequence
from typing import NamedTuple

from resseg.architecture import STEM_STRIDES


class StageLayout(NamedTuple):
    """Stride of the first block of a stage, and the dilation of each block."""

    strides: int
    dilations: tuple[int, ...]


def stage_layout(
    stem: str,
    stage_strides: Sequence[int],
    stage_sizes: Sequence[int],
    output_stride: int,
    convention: str = "torchvision",
    multi_grid: Sequence[int] = (),
) -> list[StageLayout]:
    """Strides and dilations of the stages.

    Once `output_stride` is reached a stride becomes a dilation of that and all later
    stages. By the convention `torchvision` the first block of such a stage keeps the
    dilation of the stage before, as it still sees that stage's output; by `uniform` all
    blocks of a stage have the same.

    Args:
        stem: 7x7, deep or 3x3.
        stage_strides: of the first block of each stage.
        stage_sizes: blocks per stage.
        output_stride: input pixels per feature of the last stage.
        convention: torchvision or uniform.
        multi_grid: factor on the dilation of each block of the last stage (Chen 2017,
            section 3.2); () = 1.

    Raises:
        ValueError: the strides cannot give `output_stride`.

    Example:
        >>> stage_layout("7x7", (1, 2, 2, 2), (2, 2, 2, 2), 16)[-2:]
        ... # doctest: +NORMALIZE_WHITESPACE
        [StageLayout(strides=2, dilations=(1, 1)),
         StageLayout(strides=1, dilations=(1, 2))]
    """
    reached, dilation, layout = STEM_STRIDES[stem], 1, []
    for stride, size in zip(stage_strides, stage_sizes, strict=True):
        before = dilation
        if reached * stride > output_stride:
            dilation, stride = dilation * stride, 1
        reached *= stride
        first = before if convention == "torchvision" else dilation
        layout.append(StageLayout(stride, (first,) + (dilation,) * (size - 1)))
    if reached != output_stride:
        raise ValueError(
            f"output stride {output_stride} cannot be met by a {stem} stem and strides "
            f"{tuple(stage_strides)}, which give {reached}"
        )
    if multi_grid:
        last = layout[-1]
        grid = zip(last.dilations, multi_grid, strict=True)
        layout[-1] = last._replace(dilations=tuple(d * factor for d, factor in grid))
    return layout
