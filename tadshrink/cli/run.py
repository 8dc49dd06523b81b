"""``tadshrink run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say, table
from tadshrink.cli.run_plan import print_plan
from tadshrink.cli.settings import takes
from tadshrink.compress.select_settings import SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.data.names import short_name
from tadshrink.models.units import listed
from tadshrink.run_settings import RENAMED, RunSettings, read_recipe, run_settings

NAME = "run"
EXAMPLE = "tadshrink run --dataset synthetic --target 25%"


# One seed is for all; alignment has a batch size as well.
@takes(AlignSettings, "for_align")
@takes(SelectSettings, "for_select", exclude=("seed",), rename=RENAMED)
@takes(RunSettings, "for_run", exclude=("select", "align"))
def command(
    dataset: options.Dataset,
    for_run: dict[str, Any],
    for_select: dict[str, Any],
    for_align: dict[str, Any],
    checkpoint: Annotated[Path | None, typer.Argument(metavar="CKPT", help="Trained detector. Default, for synthetic: the one in the "
                                                      "package.", show_default=False, autocompletion=completion.checkpoints)] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", metavar="YAML", help="Settings as KEY: VALUE lines in sections run, select and "
                                                "align, with the names of these options. What is given here is stronger.",
                                                show_default=False, autocompletion=completion.yamls)] = None,
    work_dir: Annotated[Path | None, typer.Option("--work-dir", help="Folder of the run. Default: tadshrink-runs/DATASET-TARGET.",
                                                  show_default=False)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier run left in the work dir.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and about how long it takes by a quick measurement; "
                                          "nothing is written.")] = False,
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Compress a detector: select, drop, align and merge, block by block, until the target is met.

    Stops early, keeping the last good model, when accuracy on the held-out training videos does not come back. The test split is
    used once, at the end. An interrupted run goes on when the command is repeated. Started by torchrun, its processes share the
    selections and the alignments.
    """
    from tadshrink.stages.common import DatasetChoice

    seed = {"seed": for_align["seed"]} if "seed" in for_align else {}
    given = {"run": for_run, "select": for_select | seed, "align": for_align}
    settings = run_settings(read_recipe(recipe) if recipe else {}, recipe, given)
    folder = work_dir or Path("tadshrink-runs") / f"{short_name(dataset)}-{settings.target.replace('%', 'pct')}"
    inputs = (checkpoint, DatasetChoice(dataset, root, allow_missing), folder, settings, fresh, device, ConsoleReporter())
    if dry_run:
        from tadshrink.planning.plan import plan_run

        plan = plan_run(*inputs)
        print_plan(plan)
        return emit(json, plan.to_json())
    from tadshrink.pipeline import run

    result = run(*inputs).to_json()
    _print(result)
    _report(folder, device)
    emit(json, result)


def _report(folder: Path, device: str | None) -> None:
    """Draw the report. The run has succeeded, whatever becomes of its picture."""
    from tadshrink.distributed import world
    from tadshrink.stages.report import write_report

    if world().rank > 0:
        return
    try:
        say(f"report: {write_report(folder, device=device, reporter=ConsoleReporter()).output}")
    except Exception as error:
        say(f"no report was written ({error}); try again: tadshrink report {folder}")


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
    name = "pruning" if "pruned" in step else f"drop {number}"
    return name if step["kept"] else f"{name} (not kept)"


def _cost(name: str, item: dict[str, Any], base: dict[str, Any]) -> list[object]:
    gone = ", ".join(map(str, listed(item.get("dropped", []))))
    return [name, item["blocks"], gone, f"{item['macs'] / 1e6:.1f}", f"{item['macs'] / base['macs']:.1%}",
            f"{item['params']:,}", f"{item['latency_ms']:.1f}", f"{item['speedup']:.2f}x"]


def _scores(name: str, scores: dict[str, Any]) -> list[object]:
    return [name, f"{scores['average_map']:.2f}", *(f"{value:.2f}" for value in scores["map"].values())]
