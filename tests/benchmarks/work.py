"""The work dir of a benchmark, whose results are used again by the same command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tadshrink.files import read_json, write_json


def check_same(folder: Path, settings: Any) -> None:
    """Make sure that what is in the folder was made with these settings; they are kept there by the first call.

    Raises:
        SystemExit: it was made with others, or nobody knows with which.
    """
    told = plain(settings)
    kept = folder / "settings.json"
    if not kept.exists() and folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty, and does not say how its content was made: give another --work-dir, or delete it")
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(kept, told)
    elif (before := read_json(kept)) != told:
        changed = [key for key in told.keys() | before.keys() if told.get(key) != before.get(key)]
        raise SystemExit(f"{folder} holds results with other settings ({', '.join(sorted(changed))}): give another --work-dir, or delete it")


def plain(value: Any) -> Any:
    """Settings as JSON reads it again; files by their names, as the package may lie elsewhere."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.name if isinstance(value, Path) else value
