"""Images that a run goes on without: `config.data.on_error`."""

from collections.abc import Callable
from pathlib import Path

from resseg.data.pipeline import TrainLoader
from resseg.runs import RunWriter
from resseg.runs.unread import read_unread, write_unread


class Unread:
    """Names and counts the images that the loader of a run has replaced.

    Args:
        folder: of the run.
        loader: of its training batches.
        writer: of the run folder.
        say: called with each line that is for people.
    """

    def __init__(
        self,
        folder: Path,
        loader: TrainLoader,
        writer: RunWriter,
        say: Callable[[str], None],
    ):
        self._folder, self._loader = folder, loader
        self._writer, self._say = writer, say
        self._known = read_unread(folder)

    def note(self) -> None:
        """Writes down and says what is new since the last batch."""
        new = self._loader.replaced.keys() - self._known.keys()
        if not new:
            return
        for index in sorted(new):
            self._known[index] = self._loader.replaced[index]
            self._say(f"image {index} is replaced by the next: {self._known[index]}")
        write_unread(self._folder, self._known)
        self._writer.write_count(
            "replaced_images", self._loader.number, len(self._known)
        )
