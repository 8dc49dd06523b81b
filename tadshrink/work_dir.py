"""The folder of one run: which stages are done, what they gave, and whether the run asked for is still the same."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tadshrink.distributed import only_first
from tadshrink.errors import UserError
from tadshrink.files import UNFINISHED, read_json, write_json

try:
    import fcntl
except ImportError:  # Not on Windows.
    fcntl = None  # type: ignore[assignment]

_PLAN = "run.json"
#: Folders that runs make, and what they put there (unfinished work is named after the checkpoint that it leads to).
_FOLDERS = re.compile(r"baseline|final|step-\d+")
#: What a run found, written at its end.
RESULT = "result.json"
#: Ends the name of the file that tells when a stage began which is not done.
BEGUN = ".begun"
_SUFFIXES = (".json", ".pth", ".training", UNFINISHED, BEGUN)
#: Half-written files of a run that was killed, as :func:`tadshrink.files.atomic_path` names them.
_LEFTOVER = re.compile(r"\..+\.\w+\.(json|pth|training|begun)")


class WorkDir:
    """Results of stages as JSON files, each written after the stage's checkpoint: a file that is there means done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made if need be. A killed process leaves no lock behind.

        Raises:
            UserError: another process is at work here, or there cannot be such a folder.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY) if fcntl else None
        except OSError as error:
            raise UserError(f"cannot be used as a work dir ({error.strerror})", where=self.path, fix="Give another --work-dir") from error
        if handle is None:
            yield
            return
        try:
            _lock(handle, self.path)
            yield
        finally:
            os.close(handle)

    def begin(self, plan: dict[str, Any], fresh: bool) -> bool:
        """Start a run with this plan (inputs and settings) or go on with one of the same plan.

        Args:
            fresh: delete what an earlier run left; files of other kinds stay.

        Returns:
            whether an earlier run is continued.

        Raises:
            UserError: the folder holds a run with another plan and ``fresh`` is not set, or no run but other files.
        """
        if self.goes_on(plan, fresh):
            self._clear(_LEFTOVER.fullmatch)
            return True
        file = self.path / _PLAN
        if file.exists():
            self._clear(lambda name: name.endswith(_SUFFIXES))
            for name in (RESULT, "report.html"):
                (self.path / name).unlink(missing_ok=True)
        write_json(file, plan)
        return False

    def check_spares(self, model: Path, fresh: bool) -> None:
        """Raise a :class:`UserError` where ``fresh`` would delete the model that the run is to start from."""
        if fresh and model.resolve().is_relative_to(self.path.resolve()):
            raise UserError("--fresh would delete the model that is read, which lies in the work dir", where=model,
                            fix="Give another --work-dir")

    def check_idle(self) -> None:
        """Raise a :class:`UserError` where another process is at work in the folder."""
        if self.path.is_dir():
            with self.locked():
                pass

    def goes_on(self, plan: dict[str, Any], fresh: bool) -> bool:
        """Whether :meth:`begin` would go on with an earlier run; nothing is changed.

        Raises:
            UserError: as :meth:`begin`.
        """
        self.check_is_runs()
        file = self.path / _PLAN
        if not file.exists():
            return False
        changed = [] if fresh else _differences(read_json(file), plan)
        if changed:
            raise UserError(f"this run was started with other inputs or settings: {'; '.join(changed)}", where=self.path,
                            fix="Give another --work-dir, or --fresh to delete it and start again")
        return not fresh

    def file(self, name: str) -> Path:
        """Path of a file of this run; ``name`` may hold a folder."""
        return self.path / name

    def stage(self, name: str, work: Callable[[], dict[str, Any]], shared: bool = False) -> dict[str, Any]:
        """The result of a stage: read if it is done, else made by ``work`` and written, with its ``seconds``, those of broken-off calls
        included as far as they were of use.

        Args:
            shared: all processes do the work together; otherwise the first one does it and the others wait.
        """
        file = self.file(f"{name}.json")
        if (done := only_first(lambda: read_json(file) if file.exists() else None)) is not None:
            return done
        begun = self.file(f"{name}{BEGUN}")
        spent = only_first(lambda: _begin(begun))
        started = time.perf_counter()
        made = work() if shared else only_first(work)
        result = {**made, "seconds": spent + time.perf_counter() - started}
        return only_first(lambda: _written(file, result, begun))

    def check_is_runs(self) -> None:
        """Raise a :class:`UserError` where the folder holds other things than a run. Hidden files do not count: a run killed at its very
        start leaves one."""
        if not (self.path / _PLAN).exists() and self.path.exists() and any(not item.name.startswith(".") for item in self.path.iterdir()):
            raise UserError("the folder is not empty and holds no run", where=self.path, fix="Give another --work-dir")

    def _clear(self, ours: Callable[[str], object]) -> None:
        """Delete files with such names from the folders that runs make, and the folders that are empty then.

        The plan stays until it is overwritten: it marks the folder as that of a run.
        """
        for folder in self.path.iterdir():
            if not _FOLDERS.fullmatch(folder.name) or not folder.is_dir() or folder.is_symlink():
                continue
            for item in folder.iterdir():
                if ours(item.name) and item.is_file():
                    item.unlink()
            # Not empty: something in it is not to be deleted.
            with suppress(OSError):
                folder.rmdir()


def _begin(begun: Path) -> float:
    """Seconds that calls which were broken off have spent on a stage, each until it last saved how far it was; notes that another begins."""
    spent = 0.0
    if begun.exists():
        before = read_json(begun)
        saved = (item.stat().st_mtime for item in begun.parent.iterdir() if item != begun)
        spent = before["spent"] + max(0.0, max(saved, default=0.0) - before["at"])
    write_json(begun, {"spent": spent, "at": time.time()})
    return spent


def _written(file: Path, result: dict[str, Any], begun: Path) -> dict[str, Any]:
    write_json(file, result)
    begun.unlink(missing_ok=True)
    return result


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError("another process is at work on this run", where=path, fix="Wait for it, or give another --work-dir") from error
    except OSError:
        # Some network drives have no locks.
        return


def _differences(old: Any, new: dict[str, Any]) -> list[str]:
    """``key: old -> new`` for every leaf that differs."""
    old = old if isinstance(old, dict) else {}
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += [f"{key}.{item}" for item in _differences(before, after)]
        elif before != after:
            found.append(f"{key}: {before} -> {after}")
    return found
