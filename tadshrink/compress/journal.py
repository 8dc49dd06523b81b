"""What a selection has found so far, group by group, in a file that a killed process can go on with."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tadshrink.checkpoint.format import digest
from tadshrink.compress.candidates import Key
from tadshrink.compress.judges import Found
from tadshrink.errors import UserError
from tadshrink.files import atomic_path
from tadshrink.reporting import SILENT, Reporter


class Entry(NamedTuple):
    """What a group gave, and the seconds that the selection had taken by then, all calls together."""

    found: Found
    seconds: float


class Journal:
    """A line for each group, each with its own checksum; a line that was cut off by the end of the process does not count.

    Args:
        fingerprint: what the selection depends on; a file of another one is overwritten.
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        self.path, self.first = path, _line({"fingerprint": digest(fingerprint)})

    def read(self, reporter: Reporter = SILENT) -> list[Entry]:
        """The groups that are there, in their order; and get ready to add to them.

        Raises:
            UserError: the file cannot be read or written.
        """
        try:
            lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
            good = lines[: _sound(lines)] if lines and lines[0] == self.first else [self.first]
            if lines and lines[0] != self.first:
                reporter.note(f"{self.path} belongs to a selection with other inputs or settings: starting anew")
            if good != lines:
                with atomic_path(self.path) as temporary:
                    temporary.write_bytes(b"".join(good))
            return [Entry(_unpacked(value["found"]), value["seconds"]) for value in (json.loads(line[65:]) for line in good[1:])]
        except OSError as error:
            raise UserError(f"cannot be read or written ({error.strerror})", where=self.path, fix="Choose another output path") from error

    def add(self, entry: Entry) -> None:
        """Write what one more group gave.

        Raises:
            UserError: it cannot be written.
        """
        try:
            with self.path.open("ab") as file:
                file.write(_line({"found": _packed(entry.found), "seconds": entry.seconds}))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"cannot be written ({error.strerror})", where=self.path,
                            fix="Make room; the same command goes on after what is there") from error


def _line(value: Any) -> bytes:
    text = json.dumps(value).encode()
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


def _sound(lines: list[bytes]) -> int:
    """How many of the lines are whole, up to the first that is not."""
    for number, line in enumerate(lines):
        if not line.endswith(b"\n") or hashlib.sha256(line[65:-1]).hexdigest().encode() != line[:64]:
            return number
    return len(lines)


def _packed(found: Found) -> list[Any]:
    return [[list(key), video, _text(array)] for key, tally in found.items() for video, array in tally.items()]


def _unpacked(rows: list[Any]) -> Found:
    found: dict[Key, dict[str, np.ndarray]] = {}
    for key, video, text in rows:
        found.setdefault(tuple(key), {})[video] = np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
    return found


def _text(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return base64.b64encode(buffer.getvalue()).decode()
