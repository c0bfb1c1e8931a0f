"""What options of Slurm's jobs say."""

import shlex

from resseg.errors import UserError


def minutes(text: str) -> int:
    """A time limit as `sbatch --time` takes it, in minutes, rounded up.

    Raises:
        UserError: it is none.
    """
    wrong = UserError(
        f"--slurm time={text}: expected minutes, [hours:]minutes:seconds or "
        "days-hours[:minutes[:seconds]]"
    )
    days, dash, rest = text.rpartition("-")
    fields = rest.split(":")
    if not all(field.isdecimal() for field in [*fields, *([days] if dash else [])]):
        raise wrong
    numbers = [int(field) for field in fields]
    if len(numbers) > 3:
        raise wrong
    if dash:
        hours, mins, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, mins, seconds = numbers
    else:
        hours, mins, seconds = 0, *(*numbers, 0)[:2]
    total = (int(days or 0) * 24 + hours) * 3600 + mins * 60 + seconds
    if total == 0:
        raise wrong
    return -(-total // 60)


def seconds(text: str) -> int:
    """Of `--slurm grace`.

    Raises:
        UserError: it is no number.
    """
    if not text.isdecimal():
        raise UserError(f"--slurm grace={text}: expected seconds")
    return int(text)


def words(command: str) -> list[str]:
    """Of `--slurm container-command`, as a shell takes them.

    Raises:
        UserError: a quotation has no end.
    """
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UserError(f"--slurm container-command={command}: {error}") from None
