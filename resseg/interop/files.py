"""Files of weights: .safetensors, .npz, and .pth or .pt where torch is installed."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from resseg.errors import UserError, choose, naming

_MOST_UNPACKED, _SMALL = 20, 64 << 20  # times the size of a file, and bytes
_WRAPPERS = ("state_dict", "model")  # what a checkpoint keeps its tensors under


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name.

    Pickled files are read by torch in the mode that runs no code.

    Raises:
        UserError: there is no such file, it is of no known kind, it is damaged, or
            torch is needed and not installed.
    """
    file = Path(path)
    choose(f"{file}: kind of file", file.suffix, _READERS)
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    try:
        return _READERS[file.suffix](file)
    except (safetensors.SafetensorError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{file}: damaged or not {file.suffix}: {error}") from error
    except (ValueError, RuntimeError, KeyError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{file}: cannot be read: {error}") from error


def write_weights(
    path: Path, tensors: Mapping[str, np.ndarray], notes: Mapping[str, str]
) -> None:
    """Writes a .safetensors file; tensors and what is noted beside them, by name."""
    whole = {
        name: np.asarray(array, order="C") for name, array in sorted(tensors.items())
    }
    with naming(path):
        path.write_bytes(safetensors.numpy.save(whole, dict(notes)))


def read_notes(path: str | Path) -> dict[str, str]:
    """What was noted beside the tensors of a .safetensors file.

    Raises:
        UserError: there is no such file, it is of another kind, or damaged.
    """
    choose(f"{path}: kind of file", Path(path).suffix, [".safetensors"])
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged or not .safetensors: {error}") from error


def _read_numpy(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    if unpacked > _MOST_UNPACKED * path.stat().st_size + _SMALL:
        raise UserError(
            f"{path}: would unpack to {unpacked >> 20:,} MiB, expected at most "
            f"{_MOST_UNPACKED} times its size; no weights are as alike as that"
        )
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch  # noqa: TID251  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"{path}: only torch can read this; install the extra resseg[interop], or "
            "convert the file to .safetensors"
        ) from error
    from pickle import UnpicklingError

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: damaged, or more than tensors: {reason}") from error
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: expected tensors by name, found {type(content)}")
    arrays = {}
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor):
            raise UserError(f"{path}: {name} is {type(tensor).__name__}, not a tensor")
        # numpy has no bfloat16; every one of them is a float32.
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        arrays[name] = tensor.detach().numpy()
    return arrays


_READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": safetensors.numpy.load_file,
    ".npz": _read_numpy,
    ".pth": _read_torch,
    ".pt": _read_torch,
}
