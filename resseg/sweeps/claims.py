"""What a study claims to come out: stated beside its runs, checked by `resseg table`.

    CLAIMS = [
        ordering("identity beats plain", [{KIND: "identity"}, {KIND: "none"}]),
        ratio("half the loss", {KIND: "identity"}, {KIND: "none"},
              metric="train_loss", at_most=0.5),
        threshold("it learns", {KIND: "identity"}, at_least=0.5, each=["data.name"]),
    ]

A selector maps config keys to values: it selects the runs whose resolved config has
them. A key that it does not name, or gives None, may have any value. What is compared
is, seed by seed, the mean of the metric over all selected runs of that seed, over the
seeds that every selector of the claim has. A claim holds where the 95 % interval over
these seeds (of the paired differences, of the quotient, of the mean) agrees with it as
a whole, fails where it contradicts it as a whole, and is undecided else, as with one
seed; see `resseg.sweeps.table.verdicts`. Bounds are inclusive, orderings strict.
`where` narrows every selector of a claim. `each` names keys: the claim must hold
separately for every combination of their values among the runs that `where` leaves.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from resseg.config.fields import check_key, normalise
from resseg.config.keys import flatten, plain
from resseg.errors import UserError, choose
from resseg.sweeps.scores import METRICS

Selector = Mapping[str, Any]
Claim = dict[str, Any]  # plain values, as they stand in sweep.json

_NO_SELECTOR: Selector = {}


def ordering(
    name: str,
    selectors: Sequence[Selector],
    *,
    metric: str = "mean_iou",
    lower: bool = False,
    where: Selector = _NO_SELECTOR,
    each: Sequence[str] = (),
) -> Claim:
    """Claims that the means strictly decrease, best first.

    Args:
        name: the claim in words.
        selectors: best first, at least two.
        metric: what is compared.
        lower: lower is better, as of a loss: the means strictly increase.
        where, each: see the head of this module.

    Example:
        >>> claim = ordering(
        ...     "identity beats plain",
        ...     [{"model.shortcut.kind": "identity"}, {"model.shortcut.kind": "none"}],
        ... )
        >>> claim["metric"], claim["lower"]
        ('mean_iou', False)
    """
    claim = _claim("ordering", name, selectors, metric, where, each)
    return claim | {"lower": lower}


def ratio(
    name: str,
    numerator: Selector,
    denominator: Selector,
    *,
    metric: str = "mean_iou",
    at_least: float | None = None,
    at_most: float | None = None,
    where: Selector = _NO_SELECTOR,
    each: Sequence[str] = (),
) -> Claim:
    """Claims that the quotient of two means lies within bounds; see `ordering`.

    Example:
        >>> kind = "model.shortcut.kind"
        >>> claim = ratio("half", {kind: "none"}, {kind: "identity"}, at_most=0.5)
        >>> claim["at_least"], claim["at_most"]
        (None, 0.5)
    """
    claim = _claim("ratio", name, [numerator, denominator], metric, where, each)
    return claim | {"at_least": at_least, "at_most": at_most}


def threshold(
    name: str,
    select: Selector,
    *,
    metric: str = "mean_iou",
    at_least: float | None = None,
    at_most: float | None = None,
    where: Selector = _NO_SELECTOR,
    each: Sequence[str] = (),
) -> Claim:
    """Claims that one mean lies within bounds; see `ordering`.

    Example:
        >>> threshold("it learns", {"optim.name": "sgd"}, at_least=0.5)["selectors"]
        [{'optim.name': 'sgd'}]
    """
    claim = _claim("threshold", name, [select], metric, where, each)
    return claim | {"at_least": at_least, "at_most": at_most}


def _claim(
    kind: str,
    name: str,
    selectors: Sequence[Selector],
    metric: str,
    where: Selector,
    each: Sequence[str],
) -> Claim:
    return {
        "kind": kind,
        "name": name,
        "selectors": selectors,
        "metric": metric,
        "where": where,
        "each": each,
    }


def check_claims(
    file: Path, claims: Sequence[Any], configs: Iterable[ConfigDict]
) -> tuple[Claim, ...]:
    """The claims as plain values for `sweep.json`.

    Args:
        file: the study, which messages name.
        claims: what it says.
        configs: of its runs.

    Raises:
        UserError: one cannot be checked on the runs of the study: it names a key or a
            metric that does not exist, or selects no run. The message names it.
    """
    if not isinstance(claims, list | tuple):
        raise UserError(f"{file}: CLAIMS={claims!r}: expected a list")
    flat = [plain(flatten(config)) for config in configs]
    checked: list[Claim] = []
    for number, claim in enumerate(claims, 1):
        if not isinstance(claim, Mapping) or "kind" not in claim:
            raise UserError(
                f"{file}: CLAIMS: entry {number} is {claim!r}: expected ordering(…), "
                "ratio(…) or threshold(…) of resseg.sweeps"
            )
        try:
            checked.append(_checked(claim, flat))
        except UserError as error:
            name = claim["name"]
            raise UserError(f"{file}: claim {name!r}: {error}") from None
    names = [claim["name"] for claim in checked]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{file}: CLAIMS: two of them are called {name!r}")
    return tuple(checked)


def _checked(claim: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> Claim:
    choose("metric", claim["metric"], METRICS)
    if not isinstance(claim["name"], str) or not claim["name"]:
        raise UserError(f"name={claim['name']!r}: expected the claim in words")
    if not isinstance(claim["selectors"], list | tuple):
        raise UserError("selectors: expected a list of them")
    if isinstance(claim["each"], str):
        raise UserError(f"each={claim['each']!r}: expected a list of config keys")
    for key in claim["each"]:
        check_key(key)
    done = {
        **claim,
        "selectors": [_selector(selector) for selector in claim["selectors"]],
        "where": _selector(claim["where"]),
        "each": list(claim["each"]),
    }
    if claim["kind"] == "ordering":
        if len(done["selectors"]) < 2:
            raise UserError("an ordering needs two selectors or more")
    else:
        bounds = (claim["at_least"], claim["at_most"])
        if all(bound is None for bound in bounds):
            raise UserError("it needs a bound, at_least or at_most")
        for bound in bounds:
            number = isinstance(bound, int | float) and math.isfinite(bound)
            if bound is not None and not number:
                raise UserError(f"the bound {bound!r} is no number")
    parts = groups(done, configs)
    if not parts:
        raise UserError(f"no run of the study has {_words([done['where']])}")
    for group in parts:
        for selector in done["selectors"]:
            wanted = (done["where"], group, selector)
            if not any(_all_match(config, wanted) for config in configs):
                raise UserError(f"no run of the study has {_words(wanted)}")
    return done


def _selector(selector: Any) -> dict[str, Any]:
    if not isinstance(selector, Mapping):
        raise UserError(f"the selector {selector!r} is no mapping of keys to values")
    for key in selector:
        check_key(key)
    given = {key: value for key, value in selector.items() if value is not None}
    return plain({key: normalise(key, value) for key, value in given.items()})


def matches(config: Mapping[str, Any], selector: Selector) -> bool:
    """Whether a flat config, in plain values, has what a selector names."""
    return all(config[key] == value for key, value in selector.items())


def groups(claim: Claim, configs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The selectors for each of which a claim must hold, in the order of the runs.

    One that selects everything, unless the claim has `each`. Those without any run
    that `where` leaves are not there.
    """
    left = [config for config in configs if matches(config, claim["where"])]
    values = [{key: config[key] for key in claim["each"]} for config in left]
    in_order = sorted(values, key=values.index)
    return [group for group, _ in itertools.groupby(in_order)]


def selected(claim: Claim, group: Selector, position: int) -> list[Selector]:
    """What a run must match to count for the claim's selector at `position`."""
    return [claim["where"], group, claim["selectors"][position]]


def _all_match(config: Mapping[str, Any], wanted: Iterable[Selector]) -> bool:
    return all(matches(config, selector) for selector in wanted)


def _words(wanted: Iterable[Selector]) -> str:
    pairs = [f"{key}={value}" for one in wanted for key, value in one.items()]
    return " ".join(dict.fromkeys(pairs)) or "anything"
