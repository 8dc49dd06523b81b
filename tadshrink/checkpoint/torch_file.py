"""Files of ``torch.save``: read without running anything in them, and written atomically."""

from __future__ import annotations

import re
import sys
import warnings
from argparse import Namespace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor

from tadshrink.errors import UserError
from tadshrink.files import atomic_path, read_with

DAMAGED = "Copy or make the file again"
#: First bytes of what torch.save writes: a zip archive, or a pickle (before torch 1.6).
_MAGIC = (b"PK\x03\x04", b"\x80")
#: Beside what torch allows: the options of the training script, which VideoMAE's releases carry. They only hold values.
_HARMLESS = [Namespace]


def read_torch(path: str | Path) -> Any:
    """What ``torch.save`` wrote, on the CPU; only tensors and plain data, and nothing in the file is ever executed.

    Raises:
        UserError: no such file, not a torch file, damaged, or one that asks to run something.
    """
    return read_with(Path(path), _read)


def write_torch(path: str | Path, content: Any) -> None:
    """Write nested plain data and tensors atomically.

    Raises:
        UserError: the path cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        _write(content, handle)


def packed(value: Any) -> Any:
    """``value`` with each tensor detached, on the CPU and in a storage of its own, and with equal strings shared.

    A view then does not bring the tensor it looks into.
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {packed(key): packed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [packed(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    # Pickle writes a string that it has met by reference: which ones are shared must not depend on their past.
    return sys.intern(value) if type(value) is str else value


def _read(path: Path) -> Any:
    with path.open("rb") as handle:
        head = handle.read(4)
        handle.seek(0)
        if not head:
            raise UserError("empty file", where=path, fix=DAMAGED)
        if not head.startswith(_MAGIC):
            raise UserError("not a torch file", where=path, fix="Give a checkpoint (.pth)")
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
                warnings.simplefilter("ignore")
                return torch.load(handle, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise UserError(f"refused: {_refused(error)}, or is damaged; nothing in it was run", where=path,
                            fix="Give a checkpoint with nothing but tensors and plain data") from error
        # Damaged bytes make torch fail with exceptions of every kind.
        except Exception as error:
            raise UserError("damaged, incomplete or not a torch file", where=path, fix=DAMAGED) from error


def _refused(error: UnpicklingError) -> str:
    """What the file asked for, as the name of the function or class that torch would not load."""
    name = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it asks to run {name[1]}" if name else "it holds more than tensors and plain data"


def _write(content: Any, handle: BinaryIO) -> None:
    """By handle and not by path, since torch.save would put the path's name into the file."""
    try:
        torch.save(content, handle)
    except RuntimeError as error:
        # torch's archive writer puts an error of its own over the system's, such as a full disk.
        raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
