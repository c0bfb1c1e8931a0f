"""Which pages a folder has, what each of them shows, and whether that has changed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from resseg.errors import UserError
from resseg.runs import is_locked, layout
from resseg.sweeps import plan

RUN, SWEEP, INDEX = "run", "sweep", "index"
_GROWS = (
    *(layout.CONFIG, layout.METRICS, layout.TIMING, layout.STATUS, layout.ENVIRONMENT),
    *(layout.NETWORK, layout.DATASET, layout.GRADIENTS, layout.BLOCKS, layout.PROBES),
    f"{layout.PREDICTIONS}/{layout.PREDICTION_INDEX}",
)


class Place(NamedTuple):
    """Something that has a page.

    Attributes:
        kind: run, sweep or index.
        folder: what it is about.
        inside: names of the pages below an index or a sweep.
    """

    kind: str
    folder: Path
    inside: tuple[str, ...] = ()


def scan(root: Path) -> dict[str, Place]:
    """The pages of a folder by path of their address; "/" is the folder's own.

    Only these are ever served. A link to a folder elsewhere is left out.

    Raises:
        UserError: the folder is missing, or holds neither runs nor sweeps.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}, expected a run, a sweep or a folder of them")
    kind = _kind(root)
    if kind == RUN:
        return {"/": Place(RUN, root)}
    if kind == SWEEP:
        return _sweep("/", "/", root)
    places: dict[str, Place] = {}
    names = []
    for folder in sorted(_own(root, [each.name for each in root.iterdir()])):
        inside = _kind(folder)
        address = f"/{folder.name}/report.html"
        if inside == RUN:
            places[address] = Place(RUN, folder)
        elif inside == SWEEP:
            places |= _sweep(address, f"/{folder.name}/", folder)
        else:
            continue
        names.append(folder.name)
    if not names:
        raise UserError(
            f"{root} holds no runs: no folder in it has {layout.CONFIG} or {plan.FILE}"
        )
    return {"/": Place(INDEX, root, tuple(names)), **places}


def _sweep(address: str, prefix: str, folder: Path) -> dict[str, Place]:
    ids = [run.id for run in plan.read_plan(folder).runs]
    begun = [run for run in _own(folder, ids) if _kind(run) == RUN]
    names = tuple(run.name for run in begun)
    pages = {f"{prefix}{run.name}/report.html": Place(RUN, run) for run in begun}
    return {address: Place(SWEEP, folder, names), **pages}


def _own(parent: Path, names: list[str]) -> Iterator[Path]:
    """The folders of these names that are really inside their parent."""
    whole = parent.resolve()
    for name in names:
        folder = parent / name
        if folder.is_dir() and folder.resolve().parent == whole:
            yield folder


def _kind(folder: Path) -> str:
    if (folder / plan.FILE).is_file():
        return SWEEP
    return RUN if (folder / layout.CONFIG).is_file() else INDEX


def render(place: Place, live: str = "", metric: str = "mean_iou") -> str:
    """The page of a run, of a sweep or of a folder of them, as one HTML file.

    Args:
        place: what it is about.
        live: see `document.render`; in such a page, links lead to the pages of all runs
            that have begun, else to those that have a file.
        metric: what the variants of a sweep are compared by.

    Raises:
        UserError: a file that it shows is damaged; the metric is unknown.
    """
    if place.kind == RUN:
        from resseg.report.run import page as run_page

        return run_page.render(run_page.read(place.folder), live)
    if place.kind == SWEEP:
        from resseg.report.sweep import page, read

        sweep = read.read(place.folder, metric)
        if live:
            sweep = sweep._replace(pages=frozenset(place.inside))
        return page.render(sweep, live)
    from resseg.report import index

    return index.render(place.folder, place.inside, live)


def fingerprint(place: Place) -> tuple:
    """Equal as long as nothing that the page shows has changed."""
    try:
        return place, _changes(place)
    except (UserError, KeyError, ValueError) as error:  # a plan that is being written
        return place, str(error)


def _changes(place: Place) -> tuple:
    if place.kind == RUN:
        return _run(place.folder)
    if place.kind == SWEEP:
        runs = plan.read_plan(place.folder).runs
        return (_stat(place.folder / plan.FILE), *[_run(run.folder) for run in runs])
    inside = (place.folder / name for name in place.inside)
    return tuple(_changes(Place(_kind(each), each)) for each in inside)


def _run(folder: Path) -> tuple:
    # Whether somebody holds it: a process that is killed writes nothing any more.
    return (*[_stat(folder / name) for name in _GROWS], is_locked(folder))


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
