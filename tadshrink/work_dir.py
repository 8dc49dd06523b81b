"""The folder of one run: which stages are done, what they gave, and whether the run asked for is still the same."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tadshrink.errors import UserError
from tadshrink.files import read_json, write_json

_PLAN = "run.json"


class WorkDir:
    """Results of stages as JSON files, each written after the stage's checkpoint: a file that is there means done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, plan: dict[str, Any], fresh: bool) -> bool:
        """Start a run with this plan (inputs and settings) or go on with one of the same plan.

        Returns:
            whether an earlier run is continued.

        Raises:
            UserError: the folder holds a run with another plan, or other files, and ``fresh`` is not set.
        """
        file = self.path / _PLAN
        if file.exists():
            changed = _differences(read_json(file), plan)
            if not changed and not fresh:
                return True
            if not fresh:
                raise UserError(f"this run was started with other inputs or settings: {'; '.join(changed)}", where=self.path,
                                fix="Give another --work-dir, or --fresh to delete it and start again")
            self._clear()
        elif self.path.exists() and any(self.path.iterdir()):
            raise UserError("the folder is not empty and holds no run", where=self.path, fix="Give another --work-dir")
        write_json(file, plan)
        return False

    def file(self, name: str) -> Path:
        """Path of a file of this run; ``name`` may hold a folder."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of a stage: read if it is done, else made by ``work`` and written, with its ``seconds``."""
        file = self.file(f"{name}.json")
        if file.exists():
            return read_json(file)
        started = time.perf_counter()
        result = {**work(), "seconds": time.perf_counter() - started}
        write_json(file, result)
        return result

    def _clear(self) -> None:
        """Delete what runs have made here, and nothing else."""
        for item in [*self.path.glob("step-*"), self.path / "baseline", self.path / "final"]:
            shutil.rmtree(item, ignore_errors=True)
        (self.path / "result.json").unlink(missing_ok=True)
        (self.path / _PLAN).unlink(missing_ok=True)


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """``key: old -> new`` for every leaf that differs."""
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += [f"{key}.{item}" for item in _differences(before, after)]
        elif before != after:
            found.append(f"{key}: {before} -> {after}")
    return found
