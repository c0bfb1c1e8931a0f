"""One split of a prepared data set, read in any order."""

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import tensorflow_datasets as tfds

from resseg.data.spec import DatasetSpec
from resseg.errors import UserError


class Examples(Protocol):
    """What every opened split offers, to threads and to other processes.

    An item holds `image` uint8 RGB `[height, width, 3]`, `mask` uint8
    `[height, width]` of class indices and void, and `name`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict: ...


class Source:
    """One split of a data set: for any thread, and for any process it is sent to.

    Attributes:
        spec: names and counts of the data set.
        split: name of the split.
    """

    def __init__(self, directory: str | Path, spec: DatasetSpec, split: str):
        """Opens a prepared folder.

        Args:
            directory: the version folder, with `dataset_info.json`.
            spec: what the data set is.
            split: name of the split.

        Raises:
            UserError: files and their description disagree on the number of images.
        """
        self.spec = spec
        self.split = split
        # TFDS decorates its methods, which hides what they take.
        builder: Any = tfds.builder_from_directory(str(directory))
        # TFDS would decode with what it finds, Pillow or OpenCV; here it is said.
        skip = tfds.decode.SkipDecoding()
        self._records = builder.as_data_source(
            split, decoders={"image": skip, "mask": skip}
        )
        declared = builder.info.splits[split].num_examples
        if not len(self._records) == declared == spec.splits[split]:
            raise UserError(
                f"{directory}: split {split!r} holds {len(self._records)} images, its "
                f"descriptions say {declared} and {spec.splits[split]}; prepare the "
                "data set again"
            )

    def __len__(self) -> int:
        return self.spec.splits[self.split]

    def __getitem__(self, index: int) -> dict:
        """Reads one image.

        Returns:
            `image` uint8 RGB `[height, width, 3]`, `mask` uint8 `[height, width]` of
            class indices and void, and `name`.

        Raises:
            UserError: the record cannot be decoded; the message names the image.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.split}[{index}] of {len(self)} images")
        record = self._records[index]
        name = record["name"].decode()
        # What EXIF says about turning is left aside, as TFDS does: a mask has no EXIF.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = self._decode(record["image"], flags, f"image of {name!r}")
        mask = self._decode(record["mask"], cv2.IMREAD_UNCHANGED, f"mask of {name!r}")
        if image.shape[:2] != mask.shape:
            raise self._error(
                f"{name!r}: image is {_size(image)} and mask {_size(mask)} pixels"
            )
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return {"image": image, "mask": mask, "name": name}

    def _decode(self, encoded: bytes, flags: int, what: str) -> np.ndarray:
        content = np.frombuffer(encoded, np.uint8)
        decoded = cv2.imdecode(content, flags) if content.size else None
        if decoded is None:
            raise self._error(f"{what} cannot be decoded")
        return decoded

    def _error(self, message: str) -> UserError:
        return UserError(f"data set {self.spec.name}, split {self.split}: {message}")


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
