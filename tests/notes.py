"""A reporter that keeps what it is told."""

from __future__ import annotations

from tadshrink.reporting import Reporter


class Notes(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)
