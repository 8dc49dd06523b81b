"""``tadshrink merge``."""

from __future__ import annotations

from typing import Annotated

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say

NAME = "merge"
EXAMPLE = "tadshrink merge aligned.pth -o merged.pth"


def command(
    checkpoint: options.Checkpoint,
    output: options.Output,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="D", help="Where the windows for the check come from. Default: the "
                                                "dataset that the checkpoint was aligned on.", show_default=False,
                                                autocompletion=completion.datasets)] = None,
    tolerance: Annotated[float, typer.Option(help="Largest change of an output, relative to the largest one.")] = 1e-4,
    root: options.Root = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Fold LoRA into the weights, on a copy; outputs on real windows are compared before anything is written."""
    from tadshrink.stages.merge import merge

    result = merge(checkpoint, output, options.dataset_choice(dataset, root), tolerance, device, ConsoleReporter())
    say(f"written to {result.output}, weights {result.checksum}")
    emit(json, result.to_json())
