"""Files of features that were extracted before, of any of the usual types, as tables ``[T, C]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tadshrink.checkpoint.torch_file import read_torch
from tadshrink.errors import UserError

Reader = Callable[[Path], Any]
#: Of several arrays in one file, the one with such a name holds the features.
NAMES = ("feats", "features", "feature", "feat")


def _read_npy(path: Path) -> np.ndarray:
    # Mapped, so that a window costs what is in it, and the length of a video nothing.
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as stored:
        return stored[_one_of(stored, path)]


def _read_h5(path: Path) -> np.ndarray:
    import h5py  # Only for those who have such files.

    with h5py.File(path, "r") as stored:
        found: dict[str, Any] = {}
        stored.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        return found[_one_of(found, path)][()]


def _read_pt(path: Path) -> Any:
    content = read_torch(path)
    value = content[_one_of(content, path)] if isinstance(content, dict) else content
    return value.detach().float().numpy() if hasattr(value, "detach") else value


def _one_of(stored: Mapping[str, Any], path: Path) -> str:
    """The name of the features among the arrays of a file."""
    names = list(stored)
    if len(names) == 1:
        return names[0]
    if named := [name for name in names if str(name).rpartition("/")[2] in NAMES]:
        return named[0]
    raise UserError(f"{len(names)} arrays ({', '.join(map(str, names[:5]))}), and none is called {' or '.join(NAMES)}", where=path,
                    fix="Give files with one array each")


#: How to open a file of features, by its extension.
READERS: dict[str, Reader] = {"npy": _read_npy, "npz": _read_npz, "h5": _read_h5, "hdf5": _read_h5, "pt": _read_pt}


def read_features(path: Path, transposed: bool = False) -> np.ndarray:
    """The features of a file, ``[T, C]`` of its own type. Nothing in the file is ever executed.

    Args:
        transposed: the file holds ``[C, T]``.

    Raises:
        UserError: no such file, not one that a reader knows, or not a table of numbers with at least one row.
    """
    reader = READERS.get(path.suffix.removeprefix("."))
    if reader is None:
        raise UserError("not a file of features", where=path, fix=f"Give files of type {', '.join(READERS)}")
    try:
        values = reader(path)
    except FileNotFoundError as error:
        raise UserError("no such file of features", where=path, fix="Check the path") from error
    except UserError:
        raise
    # A damaged file can make a reader fail in any way: in the unpacking, in its header, or in the numbers it promises.
    except Exception as error:
        raise UserError("the features cannot be read", where=path, fix=f"Check that it is a sound {path.suffix} file") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise UserError("not a table of features (time x channels)", where=path, fix="Give one number per time step and channel")
    return values.T if transposed else values
