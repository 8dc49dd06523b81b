"""Printing: progress, notes and tables on stderr, JSON on stdout."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tadshrink.distributed import world
from tadshrink.reporting import Advance, Reporter

#: rich honours NO_COLOR and drops colours and animation when stderr is not a terminal. Of several processes only the first one talks.
stderr = Console(stderr=True, highlight=False, quiet=world().rank > 0)
#: Seconds after which another process tells its error: had the first one the same, torchrun would have ended all by then.
ALONE = 3.0


class ConsoleReporter(Reporter):
    """Notes as lines, work as a bar with the time left; where stderr is not a terminal, one line per finished bar."""

    def note(self, text: str) -> None:
        stderr.print(f"[dim]{escape(text)}[/dim]", soft_wrap=True)

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
                   TimeRemainingColumn(), TextColumn("[dim]{task.fields[info]}[/dim]"))
        with Progress(*columns, console=stderr) as progress:
            task = progress.add_task(escape(description), total=total, info="")
            yield lambda count, text: progress.update(task, advance=count, info=escape(text))


def fail(text: str) -> None:
    """One line on stderr, from any process, that says what is wrong. Characters that a terminal would obey are shown, not sent."""
    if world().rank > 0:
        time.sleep(ALONE)
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/bold red] {escape(shown)}", soft_wrap=True)


def emit(as_json: bool, value: Any) -> None:
    """Print ``value`` as JSON on stdout if that was asked for, from the first process."""
    if as_json and world().rank == 0:
        typer.echo(json.dumps(value, indent=1))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stderr; every column but the first is aligned to the right."""
    # Not the table's own title: that is wrapped to the width of a narrow table.
    stderr.print(f"[bold]{escape(title)}[/bold]", soft_wrap=True)
    grid = Table()
    for number, name in enumerate(columns):
        # Folded where a terminal is narrow: a number that is cut off is another number.
        grid.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(escape(str(cell)) for cell in row))
    stderr.print(grid)


def say(text: str) -> None:
    """A result in words, on stderr."""
    stderr.print(escape(text), soft_wrap=True)
