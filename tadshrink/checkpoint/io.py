"""Reading and writing checkpoints and other payloads as files that ``torch.load(path, weights_only=True)`` opens.

A file is one dict: ``format`` ("tadshrink-<kind>"), ``format_version``, ``checksum`` (of everything but itself), and
the payload's own keys beside them. Whatever is wrong with a file is found here, once, so that no reader checks again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tadshrink.checkpoint.foreign.override import overridden
from tadshrink.checkpoint.foreign.reader import read_foreign
from tadshrink.checkpoint.foreign.settings import AS_IS, LoadSettings
from tadshrink.checkpoint.foreign.summary import summary
from tadshrink.checkpoint.format import Checkpoint, CheckpointLayout, digest
from tadshrink.checkpoint.torch_file import DAMAGED, packed, read_torch, write_torch
from tadshrink.checkpoint.wording import printable, shortened
from tadshrink.errors import UserError
from tadshrink.recognition.config import is_recogniser
from tadshrink.reporting import SILENT, Reporter
from tadshrink.settings import problems_in

FORMAT_VERSION = 1
_PREFIX = "tadshrink-"
_ENVELOPE = ("format", "format_version", "checksum")


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


def load_checkpoint(path: str | Path, settings: LoadSettings = AS_IS, reporter: Reporter = SILENT) -> Checkpoint:
    """Read a checkpoint of tadshrink, OpenTAD, Progressive Block Drop or ActionFormer onto the CPU.

    Args:
        settings: what the file cannot tell, or is to be taken differently.
        reporter: told about every choice that was made.

    Raises:
        UserError: whatever is wrong with the file or the settings, in one line.
    """
    return detector_in(read_torch(path), path, settings, reporter)


def detector_in(content: Any, path: str | Path, settings: LoadSettings = AS_IS, reporter: Reporter = SILENT) -> Checkpoint:
    """:func:`load_checkpoint` of what ``torch.load`` returned."""
    if not is_ours(content):
        return read_foreign(content, settings, path, reporter)
    checkpoint = checkpoint_in(content, path)
    if is_recogniser(checkpoint.architecture):
        raise UserError("a recogniser of trimmed videos, not a detector", where=path,
                        fix="Give a detector; recognisers are for sfc, select, drop, align, merge, profile and export")
    checkpoint = overridden(checkpoint, settings, path, reporter)
    reporter.note(summary(checkpoint, path))
    return checkpoint


def checkpoint_in(content: Any, path: str | Path) -> Checkpoint:
    """The checkpoint, of a detector or a recogniser, in what ``torch.load`` returned of a file that tadshrink wrote.

    Raises:
        UserError: not a checkpoint, of another version, or damaged.
    """
    payload = _opened(content, "checkpoint", path)
    _check_layout(payload, path, "not a valid checkpoint", DAMAGED)
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
    write_torch(path, packed(content))


def load_payload(path: str | Path, kind: str) -> dict[str, Any]:
    """Read what :func:`save_payload` wrote under the same ``kind``; nothing in the file is ever executed.

    Raises:
        UserError: no such file, not a torch file, refused, of another format, kind or version, or damaged.
    """
    return _opened(read_torch(path), kind, path)


def _opened(content: Any, kind: str, path: str | Path) -> dict[str, Any]:
    """The payload of what ``torch.load`` returned."""
    _check_envelope(content, kind, path)
    stated = content.pop("checksum")
    if _digest_or_none(content) != stated:
        raise UserError("damaged: the content does not match its checksum", where=path, fix=DAMAGED)
    return {key: value for key, value in content.items() if key not in _ENVELOPE}


def is_ours(content: Any) -> bool:
    """Whether ``torch.load`` returned what a tadshrink command wrote."""
    tag = content.get("format") if isinstance(content, dict) else None
    return isinstance(tag, str) and tag.startswith(_PREFIX)


def _check_envelope(content: Any, kind: str, path: str | Path) -> None:
    """Is this our kind of file, of a version that is known here?"""
    if not is_ours(content):
        raise UserError(f"a torch file with {_summary(content)}; this version reads only tadshrink {kind} files",
                        where=path, fix="Give a file that tadshrink wrote")
    if content["format"] != _PREFIX + kind:
        raise UserError(f"a tadshrink {printable(content['format'].removeprefix(_PREFIX))} file, not a {kind}", where=path,
                        fix="Give another file")
    number = content.get("format_version")
    if type(number) is int and number > FORMAT_VERSION:
        raise UserError(f"written by a newer tadshrink (format version {number}; this one knows {FORMAT_VERSION})",
                        where=path, fix="Update tadshrink")
    if number != FORMAT_VERSION or type(content.get("checksum")) is not str:
        raise UserError("format version or checksum is missing or wrong", where=path, fix=DAMAGED)


def _summary(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__} in it"
    return f"top-level keys {shortened(content)}" if content else "nothing in it"


def _check_layout(payload: dict[str, Any], path: str | Path, what: str, fix: str) -> None:
    try:
        CheckpointLayout.model_validate(payload)
    except ValidationError as error:
        raise UserError(f"{what}: {shortened(problems_in(error), '; ')}", where=path, fix=fix) from error


def _digest_or_none(content: Any) -> str | None:
    """None where the file holds what no payload holds, such as a tensor without data or a list within itself."""
    try:
        return digest(content)
    except (TypeError, ValueError, RuntimeError, MemoryError):
        return None
