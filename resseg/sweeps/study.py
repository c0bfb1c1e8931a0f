"""A study file: the question, a base config and the runs that answer it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from resseg import text
from resseg.config.fields import normalise
from resseg.config.keys import flatten
from resseg.config.load import check_against_data, load_config
from resseg.config.rows import KEYS
from resseg.config.structure import structure_key
from resseg.data import sources
from resseg.data.pipeline import TrainLoader
from resseg.errors import UserError, choose
from resseg.sweeps.claims import check_claims

# Part of every run's id. Raised, to the version that does it, when the same config and
# seed give other numbers than before: sweeps are then trained anew. A release that
# changes no number leaves it, and finished runs stay finished. No key is `later` then.
NUMERICS = "0.2.0"


class Planned(NamedTuple):
    """One run of a study.

    Attributes:
        id: of the resolved config: the same run has the same id in any order of runs.
        overrides: what it changes in the study's config.
        config: validated, a ConfigDict.
    """

    id: str
    overrides: dict[str, Any]
    config: Any

    @property
    def structure(self) -> str:
        """Equal for runs that share a compiled program."""
        return hashlib.sha256(structure_key(self.config).encode()).hexdigest()[:10]

    @property
    def name(self) -> str:
        """Its overrides in one line."""
        return " ".join(f"{key}={value}" for key, value in self.overrides.items())


class Study(NamedTuple):
    """What a study file says.

    Attributes:
        path: of the file.
        question: its docstring.
        runs: in the order in which they are listed.
        baseline: overrides of the variant that the others are compared with.
        claims: what is claimed to come out, see `resseg.sweeps.claims`.
    """

    path: Path
    question: str
    runs: tuple[Planned, ...]
    baseline: dict[str, Any] = {}
    claims: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """That of its folder, or of its file where it is not called study.py."""
        path = self.path.resolve()
        return path.parent.name if path.stem == "study" else path.stem

    @property
    def swept(self) -> tuple[str, ...]:
        """The keys that runs set, in the order in which they appear."""
        keys = dict.fromkeys(key for run in self.runs for key in run.overrides)
        return tuple(keys | dict.fromkeys(self.baseline))


def load_study(path: str | Path) -> Study:
    """Reads a study and validates all of its runs.

    The file holds `CONFIG`, a config file beside it or from where one stands, and
    `runs()`, which returns lists of overrides (`resseg.sweeps.product` makes them). It
    may hold `BASELINE`, overrides of the variant that others are compared with, and
    `CLAIMS`, a list of what `resseg.sweeps.claims` offers.

    Raises:
        UserError: the file cannot be run, or a run is not valid or there twice; the
            message names the run and the field.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "study.py"
    if not file.is_file():
        raise UserError(f"{file}: no such study file")
    namespace = _execute(file)
    base = _base(file, namespace.get("CONFIG"))
    try:
        listed = [dict(overrides) for overrides in namespace["runs"]()]
    except KeyError:
        raise UserError(f"{file}: needs a function runs()") from None
    except Exception as error:
        raise UserError(f"{file}: runs(): {type(error).__name__}: {error}") from None
    planned: dict[str, Planned] = {}
    for number, overrides in enumerate(listed, 1):
        run = _plan(file, number, base, overrides)
        if run.id in planned:
            first = list(planned).index(run.id) + 1
            raise UserError(
                f"{file}: runs {first} and {number} are the same ({run.name or 'base'})"
            )
        planned[run.id] = run
    if not planned:
        raise UserError(f"{file}: runs() lists no run")
    question = (namespace.get("__doc__") or "").strip()
    study = Study(file, question, tuple(planned.values()))
    baseline = _baseline(study, namespace.get("BASELINE", {}))
    study = study._replace(baseline=baseline)
    configs = [run.config for run in study.runs]
    claims = check_claims(file, namespace.get("CLAIMS", []), configs)
    return study._replace(claims=claims)


def check_data(study: Study, planned: Sequence[Planned]) -> None:
    """That every run finds its data; draws the procedural data set where it is missing.

    Raises:
        UserError: a data set is not prepared, has no such split, or does not fit the
            config; the message names the first run that asks for it.
    """
    seen, wanted = set(), {run.id for run in planned}
    for number, run in enumerate(study.runs, 1):
        key = (str(run.config.data), str(run.config.loss))
        if run.id not in wanted or key in seen:
            continue
        seen.add(key)
        data = run.config.data
        try:
            spec = sources.dataset_spec(data)
            check_against_data(run.config, spec.num_classes)
            choose("config.data.eval_split", data.eval_split, spec.splits)
            choose("config.data.split", data.split, spec.splits)
            TrainLoader(data, run.config.seed).close()
        except UserError as error:
            name = run.name or "the base config"
            raise UserError(f"{study.path}: run {number} ({name}): {error}") from None


def run_id(config: ConfigDict) -> str:
    """Ten hexadecimal digits that follow from the values and from `NUMERICS`."""
    values = {
        key: value
        for key, value in flatten(config).items()
        if not (KEYS[key].later and value == KEYS[key].value.default)
    } | {"resseg": NUMERICS}
    text = json.dumps(values, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _baseline(study: Study, values: Any) -> dict[str, Any]:
    """The values as configs hold them.

    Raises:
        UserError: no run has them.
    """
    if not values:
        return {}
    where = f"{study.path}: BASELINE"
    if not isinstance(values, Mapping):
        raise UserError(f"{where}={values!r}: expected overrides by config key")
    try:
        wanted = {key: normalise(key, value) for key, value in values.items()}
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    for run in study.runs:
        flat = flatten(run.config)
        if all(flat[key] == value for key, value in wanted.items()):
            return wanted
    raise UserError(f"{where}: no run of the study has {values!r}")


def _execute(file: Path) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "study", "__file__": str(file)}
    source = text.read_source(file)
    try:
        exec(compile(source, str(file), "exec"), namespace)
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        raise UserError(f"{file}: {type(error).__name__}: {error}") from error
    return namespace


def _base(file: Path, named: Any) -> Path:
    if not isinstance(named, str):
        raise UserError(f"{file}: CONFIG={named!r}: expected the path of a config file")
    beside = file.parent / named
    return beside if beside.is_file() else Path(named)


def _plan(file: Path, number: int, base: Path, overrides: Mapping[str, Any]) -> Planned:
    try:
        config = load_config(base, overrides)
    except UserError as error:
        raise UserError(f"{file}: run {number}: {error}") from None
    return Planned(run_id(config), dict(overrides), config)
