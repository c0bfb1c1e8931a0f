"""Whether the runs of a sweep have seen the same images."""

import json
from collections.abc import Sequence

from resseg.runs.dataset import changes
from resseg.sweeps.table.measured import MeasuredRun

_MEANT = ("data.name", "data.split", "data.eval_split", "data.shapes")


def differences(begun: Sequence[MeasuredRun]) -> list[str]:
    """A sentence for each data set that has changed between two runs that name it."""
    by_name: dict[str, list[MeasuredRun]] = {}
    for each in begun:
        by_name.setdefault(_named(each), []).append(each)
    sentences = []
    for first, *others in by_name.values():
        for each in others:
            if changed := changes(first.dataset, each.dataset):
                sentences.append(
                    f"The data set changed between {first.run.id} and {each.run.id}: "
                    f"{'; '.join(changed)}."
                )
                break
    return sentences


def _named(each: MeasuredRun) -> str:
    """The data that a run asks for, drawn images by their settings."""
    stored = each.stored or {}
    return json.dumps({key: stored[key] for key in stored if key.startswith(_MEANT)})
