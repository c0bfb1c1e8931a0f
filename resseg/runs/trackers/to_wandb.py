"""Weights & Biases; all that knows wandb.

What its environment variables say holds: WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY …
"""

import netrc
import os
import sys
import urllib.parse
from collections.abc import Mapping

from resseg.runs.trackers.tracker import PROJECT, About

_SERVER = "https://api.wandb.ai"


class Wandb:
    """A run of W&B; see `Tracker`. Its files are in the run folder."""

    def __init__(self, about: About):
        import wandb

        _require_key()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=about.identity or None,
            resume="allow",
            name=about.name,
            group=about.group or None,
            config=about.config,
            dir=os.environ.get("WANDB_DIR") or os.fspath(about.folder),
            settings=wandb.Settings(
                silent=True,
                console="off",
                reinit="create_new",  # a process may train several runs
                save_code=False,
            ),
        )
        self.identity: str = self._run.id
        files = self._run.dir.removesuffix("/files")
        self.place = files if self._run.offline else str(self._run.url)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self._run.step:  # it knows the earlier ones
            self._run.log(dict(values), step=step)

    def finish(self) -> None:
        self._run.finish()


def _require_key() -> None:
    """It would ask for a key in the terminal that the progress is shown in."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online" or os.environ.get("WANDB_API_KEY") or not sys.stdin.isatty():
        return
    server = urllib.parse.urlsplit(os.environ.get("WANDB_BASE_URL") or _SERVER)
    try:
        known = netrc.netrc().authenticators(server.hostname or "")
    except (OSError, netrc.NetrcParseError):
        known = None
    if known is None:
        raise PermissionError(
            "no key: run wandb login before, or set WANDB_MODE=offline"
        )
