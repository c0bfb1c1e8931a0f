"""In which steps of a run something is logged, evaluated or saved."""

from typing import Any, NamedTuple


class Intervals(NamedTuple):
    """Numbers of steps. After the last step of a run all but gradients are due.

    Attributes:
        steps: of the whole run.
        line: of metrics and time.
        gradients: rows of forks and blocks; 0 = never.
        evaluation: on the evaluation split; 0 = after the last step alone.
        checkpoint: that the next replaces.
        kept: checkpoints that stay; 0 = none but the latest.
    """

    steps: int
    line: int
    gradients: int
    evaluation: int
    checkpoint: int
    kept: int

    @classmethod
    def of(cls, config: Any) -> "Intervals":
        """Those that a config asks for."""
        return cls(
            steps=config.train.steps,
            line=config.log.every,
            gradients=config.log.gradients.every,
            evaluation=config.eval.every,
            checkpoint=config.checkpoint.every,
            kept=config.checkpoint.keep_every,
        )

    def line_due(self, step: int) -> bool:
        return step == self.steps or step % self.line == 0

    def gradients_due(self, step: int) -> bool:
        return _divides(self.gradients, step)

    def evaluation_due(self, step: int) -> bool:
        return step == self.steps or _divides(self.evaluation, step)

    def save_due(self, step: int) -> bool:
        regular = step % self.checkpoint == 0
        return step == self.steps or regular or _divides(self.kept, step)

    def pause_due(self, step: int) -> bool:
        """Whether the state is needed, for an evaluation or a checkpoint."""
        return self.evaluation_due(step) or self.save_due(step)


def _divides(interval: int, step: int) -> bool:
    return interval > 0 and step % interval == 0
