"""``tadshrink run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tadshrink.cli import align, options
from tadshrink.cli.console import ConsoleReporter, emit, say, table

NAME = "run"
EXAMPLE = "tadshrink run --dataset synthetic --target 25%"


def command(
    dataset: options.Dataset,
    checkpoint: Annotated[Path | None, typer.Argument(metavar="CKPT", help="Trained detector. Default, for synthetic: the one in the "
                                                      "package.", show_default=False)] = None,
    target: Annotated[str, typer.Option(help="Share of the detector's MACs (25%), number of blocks (3) or latency (60ms).")] = "25%",
    at_least: Annotated[bool, typer.Option("--at-least", help="Take a percentage as a floor, not as the number to come closest to.")] = False,
    work_dir: Annotated[Path | None, typer.Option("--work-dir", help="Folder of the run. Default: tadshrink-runs/DATASET-TARGET.",
                                                  show_default=False)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier run left in the work dir.")] = False,
    metric: Annotated[str, typer.Option(help="Selection metric: map, loss or mse.")] = "map",
    tolerance: Annotated[float, typer.Option(min=0, help="Held-out average mAP, in points, that may be lost.")] = 2.0,
    heal: Annotated[str, typer.Option(help="lora, or none to drop without alignment (a control).")] = "lora",
    epochs: align.Epochs = None,
    lr: align.Rate = None,
    rank: align.Rank = None,
    cls_kd: align.ClassKd = None,
    seed: options.Seed = 0,
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Compress a detector: select, drop, align and merge, block by block, until the target is met.

    Stops early, keeping the last good model, when accuracy on the held-out training videos does not come back. The test split is
    used once, at the end. An interrupted run goes on when the command is repeated.
    """
    from tadshrink.cli.settings import settings_from
    from tadshrink.compress.alignment import AlignSettings
    from tadshrink.errors import UserError
    from tadshrink.pipeline import RunSettings, run
    from tadshrink.stages.common import DatasetChoice

    if heal not in ("lora", "none"):
        raise UserError(f"--heal {heal!r} is unknown", fix="Choose lora or none")
    settings = settings_from(RunSettings, target=target, at_least=at_least, metric=metric, tolerance=tolerance, heal=heal == "lora",
                             align=settings_from(AlignSettings, epochs=epochs, lr=lr, rank=rank, cls_kd=cls_kd, seed=seed))
    folder = work_dir or Path("tadshrink-runs") / f"{Path(dataset).stem}-{target.replace('%', 'pct')}"
    result = run(checkpoint, DatasetChoice(dataset, root, allow_missing), folder, settings, fresh, device, ConsoleReporter()).to_json()
    _print(result)
    emit(json, result)


def _print(result: dict[str, Any]) -> None:
    before, final = result["baseline"], result["final"]
    tious = list(before["heldout"]["map"])
    models = [("baseline", before), *((_name(number, step), step) for number, step in enumerate(result["steps"], 1))]
    table("Cost of one window", ["", "blocks", "dropped", "MMACs", "of base", "params", "ms", "speed-up"],
          [_cost(name, item, before) for name, item in models])
    table("mAP on the held-out training videos, by tIoU (%)", ["", "average", *tious],
          [_scores(name, item["heldout"]) for name, item in models])
    table(f"mAP on the test split: {before['test']['videos']} videos, {before['test']['ground_truths']} actions", ["", "average", *tious],
          [_scores("baseline", before["test"]), _scores("final", final["test"])])
    say(f"stopped because {result['stopped_because']}")
    say(f"model: {result['output']}, weights {result['checksum']}")


def _name(number: int, step: dict[str, Any]) -> str:
    return f"drop {number}" if step["kept"] else f"drop {number} (not kept)"


def _cost(name: str, item: dict[str, Any], base: dict[str, Any]) -> list[object]:
    return [name, item["blocks"], item.get("dropped", ""), f"{item['macs'] / 1e6:.1f}", f"{item['macs'] / base['macs']:.1%}",
            f"{item['params']:,}", f"{item['latency_ms']:.1f}", f"{item['speedup']:.2f}x"]


def _scores(name: str, scores: dict[str, Any]) -> list[object]:
    return [name, f"{scores['average_map']:.2f}", *(f"{value:.2f}" for value in scores["map"].values())]
