"""``tadshrink prune``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say, table
from tadshrink.cli.settings import settings_from, takes
from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.models.units import HALVES

NAME = "prune"
EXAMPLE = "tadshrink prune base.pth --target 25% -o pruned.pth"


@takes(PruneSettings)
def command(
    checkpoint: options.Checkpoint,
    output: options.Output,
    settings: dict[str, Any],
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="D", help="Where the windows for the check come from, and those for "
                                                "--importance taylor (held-out videos).", show_default=False,
                                                autocompletion=completion.datasets)] = None,
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Take whole attention heads and hidden units out of all blocks (structured channel pruning), the rival of dropping blocks.

    The result is a checkpoint as any other; heal it with: tadshrink align pruned.pth --teacher base.pth --dataset D -o OUT
    """
    from tadshrink.stages.prune import prune

    chosen = settings_from(PruneSettings, **settings)
    result = prune(checkpoint, output, chosen, options.dataset_choice(dataset, root, allow_missing), device, ConsoleReporter())
    table("What is left of each block", ["block", "heads", "hidden units"],
          [[index, *(size if half in result.left[index] else "-" for half, size in zip(HALVES, result.kept[index], strict=True))]
           for index in result.left])
    say(f"MACs {result.macs[0] / 1e9:.4g} G to {result.macs[1] / 1e9:.4g} G ({result.saved:.1%} less), parameters {result.params[0]:,} to "
        f"{result.params[1]:,}; written to {result.output}, weights {result.checksum}")
    emit(json, result.to_json())
