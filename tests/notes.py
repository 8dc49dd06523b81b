"""A reporter and a journal that keep what they are told."""

from __future__ import annotations

from tadshrink.compress.journal import Entry, Found, Journal
from tadshrink.reporting import SILENT, Reporter


class Notes(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class Noted(Journal):
    """Keeps what selection finds."""

    def __init__(self) -> None:
        self.found: list[Found] = []

    def read(self, reporter: Reporter = SILENT) -> list[Entry]:
        return []

    def add(self, entry: Entry) -> None:
        self.found.append(entry.found)
