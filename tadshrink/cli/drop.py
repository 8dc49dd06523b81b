"""``tadshrink drop``."""

from __future__ import annotations

from typing import Annotated

import typer

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, say
from tadshrink.errors import UserError

NAME = "drop"
EXAMPLE = "tadshrink drop ranked.pth --count 1 -o dropped.pth"


def command(
    checkpoint: options.Checkpoint,
    output: options.Output,
    blocks: Annotated[str | None, typer.Option(help="Original block indices, such as 3,7.", show_default=False)] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of best-ranked blocks (default 1).", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Remove the best-ranked blocks, or the named ones. The survivors keep their indices."""
    from tadshrink.stages.drop import drop

    if blocks is not None and count is not None:
        raise UserError("--blocks and --count exclude each other", fix="Give one of them")
    result = drop(checkpoint, output, None if blocks is None else _indices(blocks), count, ConsoleReporter())
    say(f"dropped so far: {_joined(result.dropped)}; left: {_joined(result.remaining)}; written to {result.output}, weights {result.checksum}")
    emit(json, result.to_json())


def _indices(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--blocks {text!r} is not a list of indices", fix="For example: --blocks 3,7") from error


def _joined(indices: list[int]) -> str:
    return ", ".join(map(str, indices))
