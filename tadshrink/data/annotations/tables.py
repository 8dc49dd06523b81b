"""CSV files as rows of named columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tadshrink.errors import UserError
from tadshrink.files import read_text, read_with


def header(path: Path) -> list[str]:
    """The names of a CSV file's columns, without the spaces around them."""
    with _told(path):
        return [name.strip() for name in next(csv.reader([read_with(path, _first_line)]), [])]


def rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Line number and cells of every line; a missing cell is empty.

    Raises:
        UserError: the file cannot be read, or is no CSV.
    """
    reader = csv.DictReader(io.StringIO(read_text(path)), restval="")
    with _told(path):
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        for row in reader:
            yield reader.line_num, row


def one_of(columns: list[str], names: tuple[str, ...]) -> str | None:
    """The first of ``names`` that is a column."""
    return next((name for name in names if name in columns), None)


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        return file.readline()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise UserError(f"not a readable CSV file ({error})", where=path, fix="Repair the file") from error
