"""``tadshrink select``."""

from __future__ import annotations

from typing import Annotated

import typer

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, say, table

NAME = "select"
EXAMPLE = "tadshrink select base.pth --dataset synthetic -o ranked.pth"


def command(
    checkpoint: options.Checkpoint,
    dataset: options.Dataset,
    output: options.Output,
    metric: Annotated[str, typer.Option(help="map (average mAP), loss (detection loss) or mse (error of the backbone's features).")] = "map",
    split: options.Split = "heldout",
    batch_size: options.BatchSize = 8,
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Try the model without each remaining block and rank the blocks; the output holds the ranking for drop."""
    from tadshrink.stages.common import DatasetChoice
    from tadshrink.stages.select import select

    result = select(checkpoint, DatasetChoice(dataset, root, allow_missing), output, metric, split, batch_size, device, ConsoleReporter())
    ranking = result.ranking
    table(f"{metric} on {split} without each block ({ranking.baseline:.4g} with all), best to drop first", ["block", metric, "change"],
          [[item.block, f"{item.score:.4g}", f"{item.change:+.4g}"] for item in ranking.candidates])
    say(f"ranked in {result.seconds:.1f} s; written to {result.output}, weights {result.checksum}")
    emit(json, result.to_json())
