"""The image files below a folder, found by what label files call them."""

import os
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

from resseg.data.findings import Finding
from resseg.data.reading import IMAGE_SUFFIXES
from resseg.errors import UserError, nearest, some

_MOST_FILES = 5_000_000


class Images:
    """The images below one folder; nothing outside it is ever found.

    Label files name images by paths of another machine, so the end of a path counts:
    of several files of a name the one that shares most folders with it is meant.
    """

    def __init__(self, root: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES):
        """Looks through a folder.

        Args:
            root: the folder.
            suffixes: of the files that count.

        Raises:
            UserError: there is no such folder, or it holds none of them.
        """
        if not root.is_dir():
            raise UserError(f"--images {root}: no such folder")
        self.root = root
        self.files: list[Path] = []
        self.used: dict[Path, str] = {}
        self._named: dict[str, list[Path]] = defaultdict(list)
        self._stems: dict[str, list[Path]] = defaultdict(list)
        for path in files_below(root, suffixes):
            self.files.append(path)
            self._named[_plain(path.name)].append(path)
            self._stems[_plain(stem(path))].append(path)
        if not self.files:
            raise UserError(
                f"--images {root}: holds no image ({', '.join(suffixes)}), in no folder"
            )

    def find(self, written: str, where: str) -> Path:
        """The file that a label file means.

        Args:
            written: a name or path in it, of any system.
            where: file and entry, for messages.

        Raises:
            UserError: there is none, or more than one.
        """
        parts = _parts(written)
        known = self._named.get(parts[-1], []) if parts else []
        if not known:
            hint = nearest(parts[-1] if parts else written, self._named, 0.7)
            raise UserError(f"{where}: no image {written!r} in {self.root}{hint}")
        return self._nearest(known, parts, written, where)

    def find_stem(self, written: str, where: str) -> Path:
        """As `find`, by a name or path without its suffix."""
        parts = _parts(written)
        known = self._stems.get(parts[-1], []) if parts else []
        if not known:
            hint = nearest(parts[-1] if parts else written, self._stems, 0.7)
            raise UserError(
                f"{where}: no image of the name {written!r} in {self.root}{hint}"
            )
        return self._nearest(known, parts, written, where)

    def holds(self, written: str) -> bool:
        """Whether `find` finds a file of that name."""
        parts = _parts(written)
        return bool(parts) and parts[-1] in self._named

    def holds_stem(self, name: str) -> bool:
        """Whether `find_stem` finds a file of that name."""
        return _plain(name) in self._stems

    def take(self, path: Path, where: str) -> None:
        """Notes which entry an image belongs to.

        Raises:
            UserError: another entry has taken it.
        """
        earlier = self.used.setdefault(path, where)
        if earlier != where:
            raise UserError(f"{where}: means {path}, as {earlier} does")

    def names(self) -> dict[Path, str]:
        """Names of pairs of the images that were taken: stems, where these differ."""
        stems = Counter(_plain(stem(path)) for path in self.used)
        return {path: self._name(path, stems) for path in self.used}

    def _name(self, path: Path, stems: Counter[str]) -> str:
        name = _plain(stem(path))
        if stems[name] > 1:
            inner = path.relative_to(self.root).parent.as_posix()
            name = name if inner == "." else f"{inner}/{name}"
        return os.fsencode(name).decode("utf-8", "backslashreplace")

    def unused(self) -> list[Finding]:
        """What is said of images that no label file names."""
        names = [
            str(path.relative_to(self.root))
            for path in self.files
            if path not in self.used
        ]
        if not names:
            return []
        what = "image is" if len(names) == 1 else "images are"
        message = f"{len(names)} {what} named by no label file: {some(names, 4)}"
        return [Finding("extra", str(self.root), message)]

    def _nearest(
        self, known: list[Path], parts: list[str], written: str, where: str
    ) -> Path:
        shared = [_shared(path, parts) for path in known]
        best = [
            path
            for path, count in zip(known, shared, strict=True)
            if count == max(shared)
        ]
        if len(best) > 1:
            names = [str(path.relative_to(self.root)) for path in best]
            raise UserError(
                f"{where}: {written!r} may be {some(names, 4)} in {self.root}"
            )
        return best[0]


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of these suffixes, in order; hidden ones and linked folders left out.

    Raises:
        UserError: there are more than anybody has.
    """
    files: list[Path] = []
    seen = 0
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        seen += len(names)
        if seen > _MOST_FILES:
            raise UserError(f"{root}: more than {_MOST_FILES} files")
        files += [
            Path(folder, name)
            for name in sorted(names)
            if not name.startswith(".") and name.lower().endswith(suffixes)
        ]
    return files


def stem(path: Path) -> str:
    """The name of a file without its suffix; `.nii.gz` is one."""
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def _parts(written: str) -> list[str]:
    """Names of a path, without roots, drives and steps upwards."""
    path = PurePosixPath(_plain(written.replace("\\", "/")))
    return [part for part in path.parts if part not in ("/", "..", ".")]


def _shared(path: Path, parts: list[str]) -> int:
    """How many folders above a file have the names that were written."""
    count = 0
    for own, other in zip(reversed(path.parent.parts), parts[-2::-1], strict=False):
        if _plain(own) != other:
            break
        count += 1
    return count


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)
