"""Writing files so that a reader sees the old content or the new one, never half of it."""

from __future__ import annotations

import filecmp
import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tadshrink.errors import UserError

T = TypeVar("T")
#: Ends the name of the file beside a checkpoint that holds what an interrupted selection knows so far.
UNFINISHED = ".selecting"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed over it, on failure removed.

    The temporary file keeps the suffix of ``path``, since writers (video, pictures) choose their format by it.

    Raises:
        UserError: the folder cannot be made or written to, or ``path`` is something else than a file.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            # A folder, or a device such as /dev/null, which a privileged user could otherwise replace.
            raise UserError("cannot write here (not a regular file)", where=target, fix="Choose another output path")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise UserError(f"cannot write here ({error.strerror})", where=target,
                        fix="Choose another output path") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        # The new content stands already: a file system that cannot sync folders is no reason to fail.
        with suppress(OSError):
            sync(target.parent)
    except OSError as error:
        raise UserError(f"cannot write ({error.strerror or error})", where=target,
                        fix="Check the path and the space left") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: str | Path | None, *keep: str | Path | None) -> None:
    """Find out before hours of work that a file could not be written at ``path``; nothing is created.

    Args:
        keep: files that it must not replace, such as what is read.

    Raises:
        UserError: there is something else than a file, no folder that can be written to, or one of these files.
    """
    if path is None:
        return
    target = Path(path).absolute()
    if os.path.exists(target) and not os.path.isfile(target):
        raise UserError("cannot write here (not a regular file)", where=path, fix="Choose another output path")
    if any(other is not None and os.path.realpath(other) == os.path.realpath(path) for other in keep):
        raise UserError("this would replace a file that is read, or written as well", where=path, fix="Choose another output path")
    folder = next(parent for parent in target.parents if os.path.exists(parent))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write here ({folder} is not a folder that can be written to)", where=path, fix="Choose another output path")


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copy a file, byte for byte, atomically; where its copy is there already, that stays untouched."""
    if os.path.isfile(path) and filecmp.cmp(source, path, shallow=False):
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(Path(source).read_bytes())


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file, also a compressed one (``.gz``); every way of failing is a :class:`UserError` that names the file."""
    # "-sig": some editors put a byte order mark first, which is not part of the text.
    return read_with(Path(path), lambda file: _content(file).decode("utf-8-sig").replace("\r\n", "\n"))


def _content(file: Path) -> bytes:
    if file.suffix != ".gz":
        return file.read_bytes()
    try:
        return gzip.decompress(file.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError("not a sound gzip file", where=file, fix="Check the path, or repair the file") from error


def read_json(path: str | Path, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse a JSON file; a syntax error is reported with its line and column.

    Args:
        pairs: makes what stands for an object from its names and values, of which a name may come twice.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise UserError(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}", where=path,
                        fix="Repair the file or give another") from error
    except (ValueError, RecursionError) as error:
        raise UserError("not valid JSON: a number is too long or the nesting too deep", where=path,
                        fix="Repair the file or give another") from error


def read_with(path: Path, read: Callable[[Path], T]) -> T:
    """``read(path)``; where the file cannot be read at all, a :class:`UserError` that names it."""
    try:
        return read(path)
    except FileNotFoundError as error:
        raise UserError("no such file", where=path, fix="Check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"not a text file (byte {error.start} is not UTF-8)", where=path,
                        fix="Check the path") from error
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path,
                        fix="Check the path and its permissions") from error


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
