"""What an annotation path holds, opened once for the formats to look at."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from tadshrink.files import read_json


class Source:
    """An annotation file, or a folder of them.

    Attributes:
        twice: names that stand twice in one object of the JSON file; only the last of them can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.twice: list[str] = []

    @property
    def folder(self) -> Path:
        """Where files that belong to it lie."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def files(self) -> list[Path]:
        """The file, or the files in the folder, by name."""
        return sorted(path for path in self.path.iterdir() if path.is_file()) if self.path.is_dir() else [self.path]

    @cached_property
    def json(self) -> Any:
        """The content of the JSON file, or of the only one in the folder; ``None`` if there is none."""
        files = [path for path in self.files if path.suffix == ".json"] if self.path.is_dir() else self.files
        if len(files) != 1 or files[0].suffix in (".csv", ".txt"):
            return None
        return read_json(files[0], self._pairs)

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            self.twice += sorted({name for name in names if names.count(name) > 1})
        return made
