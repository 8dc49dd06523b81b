"""``tadshrink drop``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say
from tadshrink.errors import UserError

if TYPE_CHECKING:
    from tadshrink.models.units import Unit

NAME = "drop"
EXAMPLE = "tadshrink drop ranked.pth --count 1 -o dropped.pth"


def command(
    checkpoint: options.Checkpoint,
    output: options.Output,
    blocks: Annotated[str | None, typer.Option(help="Original block indices, such as 3,7; or halves of blocks, such as 3.mlp,7.attention.",
                                               show_default=False, autocompletion=completion.blocks)] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of best-ranked blocks (default 1).", show_default=False)] = None,
    span: Annotated[int | None, typer.Option(min=1, help="The best run of so many neighbouring blocks, as ranked by select --span.",
                                             show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Remove the best-ranked blocks (or halves of blocks), or the named ones. The survivors keep their indices."""
    from tadshrink.stages.drop import drop

    if given := [name for name, value in {"--blocks": blocks, "--count": count, "--span": span}.items() if value is not None][1:]:
        raise UserError("--blocks, --count and --span exclude each other", fix=f"Leave out {' and '.join(given)}")
    result = drop(checkpoint, output, None if blocks is None else _units(blocks), count, span, ConsoleReporter())
    say(f"dropped so far: {_joined(result.dropped)}; left: {_joined(result.remaining)}; written to {result.output}, weights {result.checksum}")
    emit(json, result.to_json())


def _units(text: str) -> list[Unit]:
    from tadshrink.models.units import parse_unit

    return [parse_unit(part) for part in text.split(",")]


def _joined(units: list[Unit]) -> str:
    return ", ".join(map(str, units))
