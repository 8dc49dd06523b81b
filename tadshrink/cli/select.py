"""``tadshrink select``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, say, table
from tadshrink.cli.settings import settings_from, takes
from tadshrink.compress.select_settings import SelectOptions

if TYPE_CHECKING:
    from tadshrink.compress.candidates import Candidate, Ranking
    from tadshrink.stages.select import Selected

NAME = "select"
EXAMPLE = "tadshrink select base.pth --dataset synthetic -o ranked.pth"


@takes(SelectOptions)
def command(
    checkpoint: options.Checkpoint,
    dataset: options.Dataset,
    output: options.Output,
    settings: dict[str, Any],
    split: options.Split = "heldout",
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Try the model without each remaining block (or half of one) and rank them; the output holds the ranking for drop.

    An interrupted selection goes on where it was when the command is repeated. Started by torchrun, its processes share the videos.
    """
    from tadshrink.stages.common import DatasetChoice
    from tadshrink.stages.select import select

    chosen = settings_from(SelectOptions, **settings)
    result = select(checkpoint, DatasetChoice(dataset, root, allow_missing), output, chosen, split, device, ConsoleReporter())
    _print(result, chosen.unit, split)
    emit(json, result.to_json())


def _print(result: Selected, unit: str, split: str) -> None:
    ranking = result.ranking
    whole = "" if ranking.baseline is None else f" without each ({ranking.baseline:.4g} with all)"
    raced = ["videos", "stopped by"] if ranking.raced else []
    table(f"{ranking.metric} on {split}{whole}, best to drop first", [unit, ranking.metric, "change", *raced],
          [_row(item, ranking) for item in ranking.candidates])
    if result.others:
        table("Agreement of the rankings", ["metrics", "Kendall's tau"],
              [[f"{first}, {second}", "-" if tau is None else f"{tau:.2f}"] for first, second, tau in result.agreement()])
    seconds = ", ".join(f"{item.metric} {item.seconds:.1f} s" for item in (ranking, *result.others))
    say(f"ranked in: {seconds}; written to {result.output}, weights {result.checksum}")


def _row(item: Candidate, ranking: Ranking) -> list[object]:
    change = "-" if item.change is None else f"{item.change:+.4g}"
    raced = [f"{item.videos} of {ranking.videos}", item.stopped or "-"] if ranking.raced else []
    return [", ".join(map(str, item.units)), f"{item.score:.4g}", change, *raced]
