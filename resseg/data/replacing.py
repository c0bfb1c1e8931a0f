"""Images that cannot be read, replaced by others: `config.data.on_error`."""

from resseg.data.memory import Kept
from resseg.errors import UserError

STOP, SKIP = "stop", "skip"
REPLACES = "replaces"  # in an example: index of the one it stands for; -1 = none
_MOST = 100  # images in a row that cannot be read before it is not the images


class Replacing:
    """A split in which the next image stands for one that cannot be read.

    The next by its index, the first follows the last: so the same image is replaced by
    the same one in every process, whenever it is asked for.

    Args:
        source: the split.
    """

    def __init__(self, source: Kept):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict:
        """An example, see `Examples`, with what it `REPLACES`.

        Raises:
            UserError: nor can the images behind it be read.
        """
        try:
            return self._source[index] | {REPLACES: -1}
        except UserError as error:
            tries = min(_MOST, len(self)) - 1
            for step in range(1, tries + 1):
                try:
                    example = self._source[(index + step) % len(self)]
                except UserError:
                    continue
                return example | {REPLACES: index}
            raise UserError(
                f"config.data.on_error='skip': {tries + 1} images in a row cannot be "
                f"read, the first: {error}"
            ) from error

    def fault(self, index: int) -> str:
        """Why an image cannot be read, as far as that is still so."""
        try:
            self._source[index]
        except UserError as error:
            return str(error)
        return f"image {index} could not be read at first"
