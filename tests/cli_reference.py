"""The reference of the command line, written from the commands themselves: ``python -m tests.cli_reference``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import tadshrink
from tadshrink.cli.app import app

PATH = Path(tadshrink.__file__).parent / "REFERENCE.md"
WRITE = "python -m tests.cli_reference"
#: Options under this heading are the same for every command that has them: they are listed once, at the end.
SHARED = "Checkpoints of other code bases"
_HEAD = f"""# The commands and all their options

Written from the commands by `{WRITE}`; `tadshrink COMMAND --help` shows the same. What belongs together and why is in the
[README](../README.md).
"""


def reference() -> str:
    """The whole page."""
    found = list(commands("tadshrink", typer.main.get_command(app)))
    shared = {row for _, command in found for row in _rows(_panels(command).get(SHARED, []))}
    parts = [_HEAD, *(_section(name, command) for name, command in found)]
    parts.append(f"## {SHARED}\n\n{_table(sorted(shared))}")
    return "\n".join(parts)


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {word}", inner)
    if not hasattr(command, "commands"):
        yield name, command


def _section(name: str, command: Any) -> str:
    needed = [_needed(item) for item in command.params if item.required]
    example = f"Example: `{command.epilog.removeprefix('Example: ')}`\n\n" if command.epilog else ""
    text = f"## {name}\n\n`{' '.join([name, *needed])}`\n\n{_plain(command.help)}\n\n{example}"
    tables = []
    for panel, items in _panels(command).items():
        title = f"**{panel}**\n\n" if panel else ""
        link = f"[{SHARED}](#{SHARED.lower().replace(' ', '-')}): {', '.join(f'`{item.opts[0]}`' for item in items)}\n"
        tables.append(link if panel == SHARED else title + _table(_rows(items)))
    return text + "\n".join(tables)


def _panels(command: Any) -> dict[str, list[Any]]:
    """Options and arguments by heading, in their order."""
    found: dict[str, list[Any]] = {}
    for item in command.params:
        if not getattr(item, "hidden", False) and item.name != "help":
            found.setdefault(getattr(item, "rich_help_panel", None) or "", []).append(item)
    return found


def _rows(items: list[Any]) -> list[tuple[str, str]]:
    return [(_written(item), f"{_plain(item.help or '')}{_default(item)}") for item in items]


def _table(rows: list[tuple[str, str]]) -> str:
    lines = [f"| {name} | {text} |" for name, text in rows]
    return "\n".join(["| | |", "|---|---|", *lines, ""])


def _written(item: Any) -> str:
    """As on the command line."""
    if item.param_type_name == "argument":
        return f"`{_value(item)}`"
    names = "`, `".join([*item.opts, *item.secondary_opts])
    return f"`{names}`" if item.is_flag else f"`{names} {_value(item)}`".replace("|", "\\|")


def _needed(item: Any) -> str:
    return _value(item) if item.param_type_name == "argument" else f"{item.opts[0]} {_value(item)}"


def _value(item: Any) -> str:
    return item.metavar or item.name.strip("_").split("_")[-1].upper()


def _default(item: Any) -> str:
    shown = item.show_default and not getattr(item, "is_flag", False) and item.default not in (None, ())
    return f" Default: {item.default}." if shown else ""


def _plain(text: str) -> str:
    """In one line, without what Markdown would take for a sign of its own."""
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").strip()


if __name__ == "__main__":
    PATH.write_text(reference(), encoding="utf-8")
