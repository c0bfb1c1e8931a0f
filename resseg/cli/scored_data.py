"""The data that runs are scored on: which it is, and what is odd about it."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resseg.errors import UserError

if TYPE_CHECKING:
    from resseg.runs import Run


def list_oddities(
    run: "Run", data: Any, split: str, step: int, scores: Mapping[str, Any]
) -> list[str]:
    """What of these scores looks too good, or too odd.

    Args:
        run: that was evaluated.
        data: the `data` section of the config it was evaluated with.
        split: that it was evaluated on.
        step: of its weights.
        scores: of the evaluation.
    """
    from resseg.data import sources
    from resseg.runs import oddities, read_evaluations

    known = {row["step"]: row["mean_iou"] for row in read_evaluations(run.path)}
    # Of equal ones the first, as it was kept; NaN is above none.
    best = max(known, key=lambda at: (known[at] == known[at], known[at]), default=None)
    trained = copy_with_data(run.config, None, data.dir).data
    same = trained.name == data.name
    shared: list[str] = []
    # The images that it was trained on need not be here.
    with contextlib.suppress(UserError):
        shared = sources.shared_images(data, split, trained, trained.split)
    images = sources.dataset_spec(data).splits[split]
    return [
        *oddities.in_data(run.path),
        *oddities.in_scores(scores, run.classes, split),
        *oddities.in_split(split, trained.split if same else "", images, shared),
        *oddities.in_best(step if step == best else None, list(known)),
    ]


def compare_scales(stored: int | None, trained: int | None, name: str, run: str) -> str:
    """What there is to say of images of more than 8 bits; empty for nothing.

    Args:
        stored: bits in use in the data set, see `DatasetSpec`.
        trained: bits in use in the data that the run was trained on.
        name: of the data set.
        run: its folder.

    Raises:
        UserError: the two were scaled by different bits.
    """
    from resseg.data import depth

    if stored is None or stored == depth.FEWEST:
        return ""
    if trained is None:
        words = depth.in_words(stored, f"as {name} was prepared")
        return f"{words}; {run} does not record its own"
    if trained not in (stored, depth.FEWEST):
        raise UserError(
            f"data set {name}: {stored} bits in use by its images of more than 8, and "
            f"{run} was trained with {trained}: prepare it with --bits {trained}"
        )
    return depth.in_words(stored, f"as {name} was prepared")


def copy_with_data(config: Any, name: str | None, data_dir: str | None) -> Any:
    """A copy of a run's config that reads another data set, if one is named."""
    from ml_collections import ConfigDict

    copy: Any = ConfigDict(config).copy_and_resolve_references()
    copy.data.name = name or copy.data.name
    copy.data.dir = data_dir or copy.data.dir
    return copy
