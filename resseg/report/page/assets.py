"""The files that a page is made of, besides its data."""

import functools
import gzip
import hashlib
import json
from importlib import resources
from typing import Any

_FOLDER = resources.files("resseg.report.page") / "assets"


def text(name: str) -> str:
    """A style sheet, a script or a licence."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def notice() -> dict[str, Any]:
    """Name, version, licence and sha256 of the plotly.js that is embedded."""
    return json.loads(text("NOTICE.json"))


@functools.cache
def plotly() -> str:
    """The partial bundle of plotly.js for cartesian plots.

    Raises:
        ValueError: it is not the file that the notice names.
    """
    library = notice()
    script = gzip.decompress((_FOLDER / library["file"]).read_bytes())
    if hashlib.sha256(script).hexdigest() != library["sha256"]:
        raise ValueError(
            f"{library['file']} is not {library['name']} {library['version']}"
        )
    return script.decode("utf-8")
