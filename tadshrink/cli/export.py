"""``tadshrink export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, say

NAME = "export"
EXAMPLE = "tadshrink export final.pth --opentad for_opentad.pth"


def command(
    checkpoint: options.Checkpoint,
    opentad: Annotated[Path | None, typer.Option("--opentad", metavar="OUT", help="File for OpenTAD, its Progressive-Block-Drop fork or the "
                                                 "original ActionFormer, which load it strictly.", show_default=False)] = None,
    tadshrink: Annotated[Path | None, typer.Option("--tadshrink", metavar="OUT", help="tadshrink checkpoint.", show_default=False)] = None,
    layout: Annotated[str | None, typer.Option("--layout", metavar="opentad|fork|actionformer", help="Whose file to write. Default: where the "
                                               "weights came from, or who can hold them.", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Write a checkpoint in the form of another code base."""
    from tadshrink.stages.export import export

    result = export(checkpoint, opentad, tadshrink, layout, ConsoleReporter())
    for path, note in result.written.items():
        say(f"{path}: {note}")
    say(f"weights {result.checksum}")
    emit(json, result.to_json())
