"""`resseg train`: the wiring, and what one run does in the loop."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from resseg import metrics, runs, sharding
from resseg.blueprint import network
from resseg.config.keys import base_config, free_on_resume
from resseg.config.load import check_against_data
from resseg.console import duration, say
from resseg.data import DatasetSpec, pipeline, sources
from resseg.errors import UserError, choose
from resseg.gradients.coefficients import on_line, scheduled
from resseg.inference.evaluator import Evaluator
from resseg.inference.gallery import Gallery
from resseg.runs import checkpoints, gradients_table, layout
from resseg.training import initial, messages
from resseg.training.loop import Pending, run_steps
from resseg.training.program import Program, Programs
from resseg.training.progress import TrainingProgress


class Diverged(RuntimeError):
    """The loss is not finite any more; the message names where it began."""


def train_and_evaluate(
    config: Any, workdir: str | Path, programs: Programs | None = None
) -> dict[str, Any]:
    """Trains what `config` describes in `workdir`; goes on where a run there stopped.

    Args:
        config: as `load_config` returns it.
        workdir: the run folder.
        programs: those of earlier runs of this process, to be shared.

    Returns:
        The scores on `config.data.eval_split` after the last step.

    Raises:
        UserError: wrong input; before any device work, with the folder as it was.
        Diverged: the loss became infinite or NaN.
    """
    prepared = prepare(config, workdir)
    with runs.locked(prepared.folder):
        run = prepared.run(programs or Programs())
        try:
            return run.train()
        finally:
            run.close()


class Prepared(NamedTuple):
    """A run that may begin: everything about it has been checked."""

    config: Any
    folder: Path
    spec: DatasetSpec
    loader: pipeline.TrainLoader
    mesh: jax.sharding.Mesh
    start: initial.Initial | None
    resumes: bool

    def run(self, programs: Programs) -> "Run":
        """Writes down what is trained, and makes the run. The folder must be locked."""
        runs.write_config(self.folder, self.config)
        if not (self.resumes and (self.folder / layout.DATASET).exists()):
            spec = self.spec
            runs.write_dataset(self.folder, spec.name, spec.classes, spec.splits)
        runs.write_environment(self.folder, sharding.describe(self.mesh))
        program = programs(self.config, self.spec, self.mesh)
        runs.write_json(self.folder / layout.NETWORK, program.network)
        return Run(self, program)


def prepare(config: Any, workdir: str | Path) -> Prepared:
    """Checks data, devices, folder and initial weights.

    Raises:
        UserError: something is wrong; nothing has been written but an empty folder.
    """
    spec = sources.dataset_spec(config.data)
    check_against_data(config, spec.num_classes)
    for key in ("split", "eval_split"):
        choose(f"config.data.{key}", config.data[key], spec.splits)
    share = {}
    if jax.distributed.is_initialized():
        share["process_index"] = jax.process_index()
        share["process_count"] = jax.process_count()
    loader = pipeline.TrainLoader(config.data, config.seed, **share)
    mesh = sharding.make_mesh(config.mesh.data)
    for key in ("batch_size", "eval_batch_size"):
        if config.data[key] % mesh.size:
            raise UserError(
                f"config.data.{key}={config.data[key]}: not divisible by the "
                f"{mesh.size} devices of the data axis (config.mesh.data)"
            )
    folder = runs.prepare(workdir)
    resumes = runs.check_same_config(folder, config, base_config(), free_on_resume())
    start = None
    if checkpoints.latest_step(folder) is None:
        start = initial.load(config, network.variable_shapes(config, spec.num_classes))
    return Prepared(config, folder, spec, loader, mesh, start, resumes)


class Run:
    """Everything one run needs. `run_steps` trains it.

    Attributes:
        say: called with each line that is for people.
        writer: of the logs, while it trains.
    """

    writer: runs.RunWriter

    def __init__(self, prepared: Prepared, program: Program):
        config, folder = prepared.config, prepared.folder
        self.config, self.folder, self.spec = config, folder, prepared.spec
        self.loader, self.mesh, self.start = (
            prepared.loader,
            prepared.mesh,
            prepared.start,
        )
        self.say: Callable[[str], None] = say
        self.key = jax.random.key(config.seed)
        self.forks, self.step_function = program.forks, program.step
        self.evaluator = Evaluator(
            config, program.model, self.spec, self.mesh, step=program.evaluation
        )
        self.state = program.begin(config)
        self.schedules = scheduled(program.lines(config))
        self.saved = checkpoints.Checkpoints(folder, config.checkpoint.keep_every)

    def close(self) -> None:
        """Ends its readers; a process that trains many runs keeps nothing of them."""
        self.loader.close()
        self.saved.close()

    def begin_from_other_weights(self) -> None:
        """Where `config.init` asks for them: puts them in, says and records so."""
        if self.start is None:
            return
        self.state = self.start.put_into(self.state)
        runs.write_json(self.folder / initial.RECORD, self.start.record())
        for line in self.start.lines():
            self.say(line)

    def train(self) -> dict[str, Any]:
        """Trains to the last step; returns the scores of its evaluation."""
        start = self.begin()
        began = time.monotonic()
        size = self.config.data.batch_size
        with (
            self.open_logs(start),
            TrainingProgress(start, self.steps, size) as progress,
        ):
            run_steps(self, start, progress)
        if start < self.steps:
            self.say(f"trained in {duration(time.monotonic() - began)}")
        return self.finish()

    def begin(self) -> int:
        """Goes to the latest checkpoint, if there is one; returns its step."""
        start = self.resume()
        if start == 0:
            self.say(
                messages.headline(
                    self.config, self.spec, self.state, self.forks, self.mesh
                )
            )
            self.begin_from_other_weights()
        else:
            self.say(f"resumed at step {start} of {self.steps}")
        return start

    def open_logs(self, start: int) -> runs.RunWriter:
        """The logs, cut back to the step that the run goes on from."""
        self.writer = runs.RunWriter(
            self.folder,
            tensorboard=self.config.log.tensorboard,
            resume_step=start if (self.folder / layout.METRICS).exists() else None,
        )
        return self.writer

    def finish(self) -> dict[str, Any]:
        """Says how it went, and draws what a finished folder holds."""
        scores = self.last_scores()
        for line in messages.closing_lines(self.config, self.folder, self.spec, scores):
            self.say(line)
        return scores

    @property
    def steps(self) -> int:
        return self.config.train.steps

    def draw(self) -> Mapping[str, np.ndarray]:
        return next(self.loader)

    def dispatch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Starts a step; returns its log."""
        split = sharding.by_batch(self.mesh)
        self.state, log = self.step_function(
            self.state, sharding.put_batch(batch, split), self.key
        )
        return log

    def resume(self) -> int:
        """Restores the latest checkpoint if there is one; returns its step."""
        step = self.saved.latest_step()
        if step is None:
            self.saved.forget_best_after(0)
            return 0
        like = self.state.variables(), self.state.training()
        restored = self.saved.restore(*like)
        self.state = self.state.restored(restored.variables, restored.training)
        self.loader.restore(restored.position)
        self.saved.forget_best_after(step)
        return step

    def evaluation_due(self, step: int) -> bool:
        every = self.config.eval.every
        return step == self.steps or (every > 0 and step % every == 0)

    def save_due(self, step: int) -> bool:
        settings = self.config.checkpoint
        kept = settings.keep_every > 0 and step % settings.keep_every == 0
        return step == self.steps or kept or step % settings.every == 0

    def pause_due(self, step: int) -> bool:
        return self.evaluation_due(step) or self.save_due(step)

    def pause(self, step: int) -> None:
        """Evaluates and saves where due. Rows are on the disk before the state."""
        self.evaluate(step)
        self.save(step)

    def evaluate(self, step: int) -> None:
        """Evaluates where due, keeps the best weights, puts all rows on the disk."""
        best = False
        if self.evaluation_due(step):
            on_image = None
            if step == self.steps:
                on_image = Gallery(
                    self.folder / layout.PREDICTIONS,
                    self.spec,
                    self.config.data.eval_split,
                    self.config.eval.predictions,
                )
            scores = self.evaluator(
                self.state.variables(), self.config.data.eval_split, on_image
            )
            earlier = self.evaluations()
            best = all(scores["mean_iou"] > row["mean_iou"] for row in earlier)
            self.writer.write_metrics(step, "val", scores)
            self.say(f"step {step}  {self.spec.name} mIoU {scores['mean_iou']:.4f}")
        self.writer.flush()
        if best:
            self.saved.save_best(step, self.state.variables())

    def save(self, step: int) -> None:
        """Saves state and position where due."""
        if self.save_due(step):
            kept = self.state.variables(), self.state.training()
            self.saved.save(step, *kept, self.loader.state())

    def record(self, progress: TrainingProgress, pending: Pending | None) -> None:
        """Fetches and writes the log of a step that has been dispatched before."""
        if pending is None:
            return
        step, log, writer = pending.step, jax.device_get(pending.log), self.writer
        scalars = {name: float(value) for name, value in log["scalars"].items()}
        settings = self.config.log
        if settings.gradients.every and step % settings.gradients.every == 0:
            pixels, clip = scalars["loss_pixels"], scalars["clip_factor"]
            rows = gradients_table.rows(
                step, self.forks, log["forks"], pixels, 1.0, clip, log["joins"]
            )
            writer.write_gradients(step, rows)
            writer.write_blocks(step, gradients_table.block_rows(step, **log["blocks"]))
        finite = np.isfinite(scalars["loss"]) and np.isfinite(scalars["grad_norm"])
        if step % settings.every == 0 or step == self.steps or not finite:
            scores = metrics.scores(log["confusion"].astype(np.int64))
            values = scalars | {"mean_iou": float(scores["mean_iou"])}
            writer.write_metrics(step, "train", values)
            if moving := self.moving(step, log["learned"]):
                writer.write_metrics(step, "coefficients", moving)
            writer.write_timing(step, progress.update(step, values))
        if not finite:
            writer.flush()
            raise Diverged(self.diagnosis(step, scalars, log["forks"]))

    def moving(self, step: int, learned: dict[str, np.ndarray]) -> dict[str, float]:
        """The coefficients that were in force in a step, of those that move."""
        values: dict[str, Any] = dict(learned)
        for name, line in self.schedules.items():
            values[name] = on_line(line, step - 1)
        return {name: float(value) for name, value in values.items()}

    def diagnosis(self, step: int, scalars: dict, statistics: dict) -> str:
        """Which fork the backward pass, which runs from the deepest, broke at first."""
        text = (
            f"step {step}: loss {scalars['loss']}, gradient norm "
            f"{scalars['grad_norm']}; nothing after the last checkpoint is kept"
        )
        for fork in reversed(self.forks):
            if fork.name in statistics and statistics[fork.name].total_nonfinite > 0:
                return f"{text}; first non-finite gradient at {fork.name}"
        return text

    def evaluations(self) -> list[dict[str, Any]]:
        """The rows of the evaluations so far."""
        return runs.read_evaluations(self.folder)

    def last_scores(self) -> dict[str, Any]:
        return self.evaluations()[-1]
