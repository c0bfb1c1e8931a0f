"""What a sweep folder says of itself: `sweep.json`, and one stored config per run.

Written when a sweep starts; everything that comes after (workers, tables, reports)
reads the folder and never the study file.
"""

import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resseg import __version__, runs
from resseg.config.keys import with_whole_paths
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.sweeps import attempts
from resseg.sweeps.room import check_room
from resseg.sweeps.study import Study

FILE = "sweep.json"
CONFIGS = "plans"  # ID.json each, the resolved config
WORKER_LOGS = "workers"  # what workers print between runs


class PlannedRun(NamedTuple):
    """One run, finished or not.

    Attributes:
        id: name of its folder.
        overrides: what it changes in the study's config.
        steps: that it trains for.
        structure: equal for runs that share a compiled program.
        folder: its run folder, which may be missing yet.
    """

    id: str
    overrides: dict[str, Any]
    steps: int
    structure: str
    folder: Path

    @property
    def name(self) -> str:
        """Its overrides in one line."""
        return " ".join(f"{key}={value}" for key, value in self.overrides.items())

    def state(self, since: float = 0.0) -> attempts.State:
        """What its folder says now."""
        return attempts.read(self.folder, self.steps, since)


class Plan(NamedTuple):
    """A sweep folder.

    Attributes:
        folder: of the sweep.
        study: name of the study.
        question: its docstring.
        baseline: values of the variant that the others are compared with; a run's
            baseline has them and agrees with the run in every other swept key.
        claims: as `resseg.sweeps.claims` writes them.
        swept: keys that runs set, `seed` too, in the order of the study.
        code: version of resseg.
        runs: in the order of the study.
    """

    folder: Path
    study: str
    question: str
    baseline: dict[str, Any]
    claims: list[dict[str, Any]]
    swept: tuple[str, ...]
    code: str
    runs: tuple[PlannedRun, ...]

    def select(self, pattern: str | None) -> list[PlannedRun]:
        """The runs whose id or overrides match, as in `*seed=0*`; None = all."""
        return [run for run in self.runs if matches(pattern, run.id, run.name)]

    def config(self, run: PlannedRun) -> Any:
        """The resolved config of a run."""
        return load_config(self.folder / CONFIGS / f"{run.id}.json")


def matches(pattern: str | None, *texts: str) -> bool:
    """Whether a shell pattern fits one of the texts; None fits all."""
    return pattern is None or any(fnmatch.fnmatch(text, pattern) for text in texts)


def write_plan(study: Study, folder: Path) -> Plan:
    """Writes what a study plans into its sweep folder, and reads it back.

    A folder may be used again with a study that has grown: runs that it does not list
    any more keep their folders, and are neither trained nor shown.

    Raises:
        UserError: the folder cannot be written to, or is that of another study.
    """
    runs.prepare(folder)
    file = folder / FILE
    if file.exists():
        known = runs.read_json(file)["study"]
        if known != study.name:
            raise UserError(
                f"--workdir {folder} holds the study {known!r}, not {study.name!r}: "
                "choose another folder"
            )
    check_room(folder)
    for name in (CONFIGS, WORKER_LOGS):
        (folder / name).mkdir(exist_ok=True)
    configs = folder / CONFIGS
    for run in study.runs:
        runs.write_json(configs / f"{run.id}.json", with_whole_paths(run.config))
    values = {
        "study": study.name,
        "question": study.question,
        "baseline": study.baseline,
        "claims": list(study.claims),
        "swept": list(study.swept),
        "code": __version__,
        "runs": [
            {
                "id": run.id,
                "overrides": run.overrides,
                "steps": run.config.train.steps,
                "structure": run.structure,
            }
            for run in study.runs
        ],
    }
    runs.write_json(file, json.loads(json.dumps(values, default=list)))
    return read_plan(folder)


def read_plan(folder: str | Path) -> Plan:
    """Reads a sweep folder.

    Raises:
        UserError: it is none.
    """
    folder = Path(folder)
    if not (folder / FILE).is_file():
        what = f"holds no {FILE}" if folder.is_dir() else "does not exist"
        inside = sorted(file.parent for file in folder.glob(f"*/{FILE}"))
        hint = f" (try {inside[0]})" if inside else ""
        raise UserError(f"{folder} is not a sweep folder: it {what}{hint}")
    values = runs.read_json(folder / FILE)
    swept = tuple(values["swept"])
    planned = tuple(_planned(folder, run, swept) for run in values["runs"])
    return Plan(
        folder=folder,
        study=values["study"],
        question=values["question"],
        baseline=values["baseline"],
        claims=values["claims"],
        swept=swept,
        code=values["code"],
        runs=planned,
    )


def _planned(folder: Path, run: dict[str, Any], swept: Sequence[str]) -> PlannedRun:
    # JSON objects are stored with their keys sorted; people know the study's order.
    given = run["overrides"]
    overrides = {key: given[key] for key in swept if key in given}
    return PlannedRun(**{**run, "overrides": overrides}, folder=folder / run["id"])
