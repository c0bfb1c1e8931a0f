"""What `resseg evaluate` says and keeps of evaluations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resseg.inference.evaluation import Evaluation


def show(evaluation: "Evaluation") -> None:
    """Prints the scores, with intervals over images where there are enough."""
    from resseg.console import say
    from resseg.inference import score_lines as lines_of

    images, known = len(evaluation.images.names), evaluation.intervals
    say(f"{evaluation.data}/{evaluation.split}, {images} images, {evaluation.words}")
    scored = evaluation.scores, evaluation.classes, known
    lines = lines_of.score_lines(*scored)
    if evaluation.images.calibration is not None:
        lines += lines_of.calibration_lines(*scored)
    for line in (*lines, lines_of.interval_note(images, known)):
        say(line)


def store(evaluation: "Evaluation") -> None:
    """Keeps it in the run folder, if that can be written to."""
    from resseg.console import say
    from resseg.runs import layout, write_json

    folder = Path(evaluation.runs[0]) / layout.EVALUATIONS
    file = folder / f"{evaluation.file_name}.json"
    try:
        folder.mkdir(exist_ok=True)
        write_json(file, evaluation.record())
        _draw(evaluation, file.with_suffix(".png"))
    except OSError as error:
        say(f"note: not stored in the run: {error}")


def records(evaluations: Sequence["Evaluation"]) -> dict[str, Any]:
    """All for JSON; prints and adds the differences of the first from the others."""
    from resseg.console import say
    from resseg.inference import score_lines as lines_of
    from resseg.inference.evaluation import as_json

    first, *others = evaluations
    differences = []
    for other in others:
        known = first.differences_from(other)
        say(f"{first.name} less {other.name}, on the same images (* = not 0)")
        for line in lines_of.difference_lines(
            other.scores, first.scores, known, first.classes
        ):
            say(line)
        differences.append(
            {"of": first.runs, "less": other.runs, "intervals": as_json(known)}
        )
    return {
        "evaluations": [each.record() for each in evaluations],
        "differences": differences,
    }


def _draw(evaluation: "Evaluation", picture: Path) -> None:
    """Reliability diagrams, where probabilities were counted."""
    calibration = evaluation.images.calibration
    if calibration is None:
        return
    from resseg.console import say
    from resseg.inference import reliability

    title = f"{evaluation.name}, {evaluation.data}/{evaluation.split}"
    reliability.draw(picture, calibration.reliability(), evaluation.classes, title)
    say(f"reliability diagrams in {picture}")
