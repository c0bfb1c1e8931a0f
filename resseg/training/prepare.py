"""A run before it begins: everything about it is checked before a device is touched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from resseg import runs, sharding
from resseg.config.keys import base_config, free_on_resume
from resseg.config.load import check_against_data
from resseg.config.rules import check_height
from resseg.data import DatasetSpec, pipeline, sources
from resseg.errors import UserError, choose
from resseg.processes.group import ALONE, Group
from resseg.runs import checkpoints, layout
from resseg.runs.dataset import check_unchanged
from resseg.runs.trackers.behind import require
from resseg.training import initial, several
from resseg.training.program import Program, Programs


class Prepared(NamedTuple):
    """A run that may begin.

    Attributes:
        config: of the run.
        folder: that it leaves its files in.
        spec: of its data.
        loader: of its training batches.
        mesh: that it runs on.
        start: weights to start from; None = at random, or those of its checkpoint.
        dataset: what its data set is, see `sources.fingerprint`; None where the folder
            says so already.
        notes: lines for people.
        group: of the processes that train it.
    """

    config: Any
    folder: Path
    spec: DatasetSpec
    loader: pipeline.TrainLoader
    mesh: jax.sharding.Mesh
    start: initial.Initial | None
    dataset: Mapping[str, Any] | None
    notes: Sequence[str]
    group: Group = ALONE

    def program(self, programs: Programs) -> Program:
        """Writes down what is trained, and returns what trains it.

        The folder must be locked.

        Raises:
            UserError: not all processes see the same folder.
        """
        self.group.by_first(self._write_down)
        several.check_folder(self.folder, self.group)
        several.connect(self.mesh, self.group)
        program = programs(self.config, self.spec, self.mesh)
        if self.group.leads:
            runs.write_json(self.folder / layout.NETWORK, program.network)
        return program

    def _write_down(self) -> None:
        runs.write_config(self.folder, self.config)
        if self.dataset is not None:
            runs.write_dataset(self.folder, self.dataset)
        runs.write_environment(self.folder, sharding.describe(self.mesh))


def check_shares(config: Any, mesh: jax.sharding.Mesh) -> None:
    """Whether devices, and parts of a batch, get as many images and rows each.

    Raises:
        UserError: they do not.
    """
    devices = mesh.shape[sharding.DATA]
    check_height(config, mesh.shape[sharding.SPACE])
    for key in ("batch_size", "eval_batch_size"):
        if config.data[key] % devices:
            raise UserError(
                f"config.data.{key}={config.data[key]}: not divisible by the "
                f"{devices} devices of the data axis (config.mesh.data)"
            )
    parts = config.train.accumulate
    if config.data.batch_size % (parts * devices):
        raise UserError(
            f"config.train.accumulate={parts}: expected a divisor of "
            f"{config.data.batch_size // devices}, the images of a batch "
            "(config.data.batch_size) on each device"
        )


def other_devices(folder: Path, devices: int) -> list[str]:
    """A line where a run goes on with another number of devices than it had last."""
    if not (folder / layout.ENVIRONMENT).exists():
        return []
    before = runs.read_json(folder / layout.ENVIRONMENT)["devices"]["count"]
    if before == devices:
        return []
    return [
        f"devices: {devices}, before {before}: the same batches, but their sums in "
        "another order, so the last bits of what follows are others"
    ]


def prepare(
    config: Any, workdir: str | Path, programs: Programs, group: Group = ALONE
) -> Prepared:
    """Checks data, devices, folder and initial weights.

    Args:
        config: as `load_config` returns it.
        workdir: the run folder.
        programs: those that the run will be made with.
        group: of the processes that train it.

    Raises:
        UserError: something is wrong; nothing has been written but an empty folder.
    """
    spec = sources.dataset_spec(config.data)
    check_against_data(config, spec.num_classes)
    for key in ("split", "eval_split"):
        choose(f"config.data.{key}", config.data[key], spec.splits)
    if sources.is_unlabelled(config.data, config.data.split):
        raise UserError(
            f"config.data.split={config.data.split!r}: no pixel of it is labelled in "
            f"data set {spec.name}; there is nothing to learn from"
        )
    require(config.log.trackers)
    loader = pipeline.TrainLoader(
        config.data,
        config.seed,
        process_index=group.process,
        process_count=group.processes,
    )
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.space)
    check_shares(config, mesh)
    several.check_config(config, mesh, group)
    folder = runs.prepare(workdir)
    runs.check_same_config(folder, config, base_config(), free_on_resume())
    data, splits = config.data, (config.data.split, config.data.eval_split)
    known = sources.fingerprint(data, splits)
    known["shared"] = len(sources.shared_images(data, splits[1], data, splits[0]))
    several.check_same(config, known, group)
    if group.by_first(lambda: checkpoints.latest_step(folder)) is not None:
        notes = check_unchanged(folder, known) + other_devices(folder, mesh.size)
        kept = (folder / layout.DATASET).exists()
        # What its images were when it began, nobody knows.
        dataset = None if kept else {**known, "contents": {}}
        return Prepared(config, folder, spec, loader, mesh, None, dataset, notes, group)
    variables = programs.blueprint(config, spec.num_classes).variables
    start = initial.load(config, variables, spec.classes)
    return Prepared(config, folder, spec, loader, mesh, start, known, (), group)
