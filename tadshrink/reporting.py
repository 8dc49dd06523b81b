"""How long-running functions tell what they do, without knowing who listens: the command line, a notebook, nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Called with the number of finished units and a short text about the last one.
Advance = Callable[[int, str], None]


class Reporter:
    """Says nothing. The command line has one that prints to stderr."""

    def note(self, text: str) -> None:
        """An automatic choice and its reason, or something that was left out."""

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        """Follow ``total`` units of work."""
        yield lambda count, text: None


SILENT = Reporter()
