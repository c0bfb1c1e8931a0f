"""What a config may say, and hardly means."""

from typing import Any


def remarks(config: Any) -> list[str]:
    """One line for each value that has little or no effect beside the others."""
    lines = []
    warmup, steps = config.optim.warmup_steps, config.train.steps
    if warmup >= steps:
        reached = config.optim.learning_rate * max(steps - 1, 0) / warmup
        lines.append(
            f"config.optim.warmup_steps={warmup} is no less than config.train.steps="
            f"{steps}: the learning rate ends at {reached:.3g} on its way to "
            f"{config.optim.learning_rate:g}"
        )
    return lines
