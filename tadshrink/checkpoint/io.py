"""Reading and writing checkpoints and other payloads as files that ``torch.load(path, weights_only=True)`` opens.

A file is one dict: ``format`` ("tadshrink-<kind>"), ``format_version``, ``checksum`` (of everything but itself), and
the payload's own keys beside them. Whatever is wrong with a file is found here, once, so that no reader checks again.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from pydantic import ValidationError
from torch import Tensor

from tadshrink.checkpoint.format import Checkpoint, CheckpointLayout, digest
from tadshrink.errors import UserError
from tadshrink.files import atomic_path, read_with

FORMAT_VERSION = 1
_PREFIX = "tadshrink-"
_ENVELOPE = ("format", "format_version", "checksum")
#: First bytes of what torch.save writes: a zip archive, or a pickle (before torch 1.6).
_MAGIC = (b"PK\x03\x04", b"\x80")
_DAMAGED = "Copy or make the file again"
_MOST_PROBLEMS = 5
_LONGEST_NAME = 200


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> str:
    """Write ``checkpoint`` atomically; returns its weights checksum.

    Raises:
        UserError: the path cannot be written, or the checkpoint is one that :func:`load_checkpoint` would refuse.
    """
    payload = {
        "state_dict": checkpoint.state,
        "architecture": checkpoint.architecture,
        "classes": checkpoint.classes,
        "dropped": checkpoint.dropped,
        "ranking": checkpoint.ranking,
        "lora": checkpoint.lora,
        "history": checkpoint.history,
    }
    _check_layout(payload, path, "cannot be saved", "Nothing was written")
    save_payload(path, "checkpoint", payload)
    return checkpoint.checksum


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: whatever is wrong with the file, in one line.
    """
    payload = load_payload(path, "checkpoint")
    _check_layout(payload, path, "not a valid checkpoint", _DAMAGED)
    return Checkpoint(state=payload.pop("state_dict"), **payload)


def save_payload(path: str | Path, kind: str, payload: dict[str, Any]) -> None:
    """Write nested plain data and tensors atomically, under a ``kind`` that a reader must name.

    Tensors are stored contiguous and on their own: a view does not bring the tensor it looks into.

    Raises:
        UserError: the path cannot be written.
        TypeError: something in ``payload`` is neither plain data nor a dense tensor; its place is named.
    """
    content = {**payload, "format": _PREFIX + kind, "format_version": FORMAT_VERSION}
    content["checksum"] = digest(content)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        _write_torch(_packed(content), handle)


def load_payload(path: str | Path, kind: str) -> dict[str, Any]:
    """Read what :func:`save_payload` wrote under the same ``kind``; nothing in the file is ever executed.

    Raises:
        UserError: no such file, not a torch file, refused, of another format, kind or version, or damaged.
    """
    content = read_with(Path(path), _load_torch)
    _check_envelope(content, kind, path)
    stated = content.pop("checksum")
    if _digest_or_none(content) != stated:
        raise UserError("damaged: the content does not match its checksum", where=path, fix=_DAMAGED)
    return {key: value for key, value in content.items() if key not in _ENVELOPE}


def _packed(value: Any) -> Any:
    """``value`` with each tensor detached, on the CPU and in a storage of its own, and with equal strings shared."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {_packed(key): _packed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_packed(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    # Pickle writes a string that it has met by reference: which ones are shared must not depend on their past.
    return sys.intern(value) if type(value) is str else value


def _write_torch(content: dict[str, Any], handle: BinaryIO) -> None:
    """By handle and not by path, since torch.save would put the path's name into the file."""
    try:
        torch.save(content, handle)
    except RuntimeError as error:
        # torch's archive writer puts an error of its own over the system's, such as a full disk.
        raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def _load_torch(path: Path) -> Any:
    with path.open("rb") as handle:
        head = handle.read(4)
        handle.seek(0)
        if not head:
            raise UserError("empty file", where=path, fix=_DAMAGED)
        if not head.startswith(_MAGIC):
            raise UserError("not a torch file", where=path, fix="Give a checkpoint that tadshrink wrote")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(handle, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise UserError(f"refused: {_refused(error)}, or is damaged; nothing in it was run", where=path,
                            fix="Give a checkpoint that tadshrink wrote") from error
        # Damaged bytes make torch fail with exceptions of every kind.
        except Exception as error:
            raise UserError("damaged, incomplete or not a torch file", where=path, fix=_DAMAGED) from error


def _refused(error: UnpicklingError) -> str:
    """What the file asked for, as the name of the function or class that torch would not load."""
    name = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it asks to run {name[1]}" if name else "it holds more than tensors and plain data"


def _check_envelope(content: Any, kind: str, path: str | Path) -> None:
    """Is this our kind of file, of a version that is known here?"""
    tag = content.get("format") if isinstance(content, dict) else None
    if not isinstance(tag, str) or not tag.startswith(_PREFIX):
        raise UserError(f"a torch file with {_summary(content)}; this version reads only tadshrink {kind} files",
                        where=path, fix="Give a file that tadshrink wrote")
    if tag != _PREFIX + kind:
        raise UserError(f"a tadshrink {_printable(tag.removeprefix(_PREFIX))} file, not a {kind}", where=path,
                        fix="Give another file")
    number = content.get("format_version")
    if type(number) is int and number > FORMAT_VERSION:
        raise UserError(f"written by a newer tadshrink (format version {number}; this one knows {FORMAT_VERSION})",
                        where=path, fix="Update tadshrink")
    if number != FORMAT_VERSION or type(content.get("checksum")) is not str:
        raise UserError("format version or checksum is missing or wrong", where=path, fix=_DAMAGED)


def _summary(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__} in it"
    names = [str(key) for key in content]
    return f"top-level keys {_shortened(names, ', ')}" if names else "nothing in it"


def _check_layout(payload: dict[str, Any], path: str | Path, what: str, fix: str) -> None:
    try:
        CheckpointLayout.model_validate(payload)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
        ]
        raise UserError(f"{what}: {_shortened(problems, '; ')}", where=path, fix=fix) from error


def _shortened(parts: list[str], separator: str) -> str:
    rest = len(parts) - _MOST_PROBLEMS
    shown = separator.join(map(_printable, parts[:_MOST_PROBLEMS]))
    return shown + (f"{separator}and {rest} more" if rest > 0 else "")


def _printable(text: str) -> str:
    """A name out of a file, safe for a terminal: the file may be anybody's."""
    return (text if text.isprintable() else ascii(text)[1:-1])[:_LONGEST_NAME]


def _digest_or_none(content: Any) -> str | None:
    """None where the file holds what no payload holds, such as a tensor without data or a list within itself."""
    try:
        return digest(content)
    except (TypeError, ValueError, RuntimeError, MemoryError):
        return None
