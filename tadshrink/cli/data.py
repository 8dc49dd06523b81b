"""``tadshrink data``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, fail, say, table

if TYPE_CHECKING:
    from tadshrink.data.statistics import Lengths, SplitCounts
    from tadshrink.stages.data_check import Checked

app = typer.Typer(help="Make and check datasets.", epilog="Example: tadshrink data check my.yaml")
#: Classes in the table, and records shown of each kind of problem; the JSON has all.
CLASSES, RECORDS = 30, 5
#: Rows of the table of splits.
COUNTS: dict[str, Callable[[SplitCounts], object]] = {
    "videos": lambda counts: counts.videos, "without an action": lambda counts: counts.without_actions,
    "actions": lambda counts: counts.actions, "classes": lambda counts: counts.classes, "ambiguous regions": lambda counts: counts.ambiguous,
    "hours of video": lambda counts: f"{counts.hours:.2f}" if counts.video_seconds else "not known",
    "seconds of a video": lambda counts: _range(counts.video_seconds), "seconds of an action": lambda counts: _range(counts.action_seconds),
}  # fmt: skip


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("make", epilog="Example: tadshrink data make synthetic --videos 100 --root /tmp/data")
def make(
    name: Annotated[str, typer.Argument(help="synthetic, or synthetic-clips (trimmed, for tadshrink sfc)", show_default=False,
                                        autocompletion=completion.choices(("synthetic", "synthetic-clips")))],
    root: Annotated[Path | None, typer.Option("--root", help="The dataset goes to ROOT/NAME. Default: TADSHRINK_DATA, else the user's "
                                              "cache folder.", show_default=False)] = None,
    seed: options.Seed = 0,
    videos: Annotated[int | None, typer.Option(min=10, help="Number of videos in all splits together. Default: 600, or 1000 clips.",
                                               show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Render a built-in dataset: H.264 videos, and a file that says what is in them."""
    from tadshrink.data.datasets import data_root
    from tadshrink.data.synthetic import make_synthetic
    from tadshrink.errors import UserError
    from tadshrink.files import check_output
    from tadshrink.recognition.synthetic import make_synthetic_clips

    makers = {"synthetic": (make_synthetic, "annotations.json", 600), "synthetic-clips": (make_synthetic_clips, "clips.csv", 1000)}
    if name not in makers:
        raise UserError(f"cannot make {name!r}", fix=f"The datasets that can be made are: {', '.join(makers)}")
    folder, (render, annotations, count) = (root or data_root()) / name, makers[name]
    check_output(folder / annotations)
    path = render(folder, seed, videos or count, ConsoleReporter())
    say(f"{videos or count} videos in {folder}, annotations in {path}")
    emit(json, {"output": str(path), "videos": videos or count, "seed": seed})


@app.command("check", epilog="Example: tadshrink data check my.yaml --json")
def check(
    dataset: Annotated[str, typer.Argument(metavar="D", help="Built-in dataset name, path of a dataset YAML, or an annotation file or folder "
                                           "alone.", show_default=False, autocompletion=completion.checked)],
    label: Annotated[str | None, typer.Option(metavar="verb|noun", help="Which label is the class, for annotations of EPIC-KITCHENS alone. "
                                              "Default: verb.", show_default=False)] = None,
    root: options.Root = None,
    json: options.Json = False,
) -> None:
    """Count what a dataset holds, and name every problem of its annotations and files.

    The exit code is 2 where it cannot be used, 0 where there is nothing or only something odd.
    """
    from tadshrink.errors import UserError
    from tadshrink.stages.data_check import check_data

    if label not in (None, "verb", "noun"):
        raise UserError(f"--label {label!r} is unknown", fix="Choose verb or noun")
    checked = check_data(dataset, root, label, ConsoleReporter())
    _print_counts(checked)
    _print_problems(checked)
    emit(json, checked.to_json())
    if not checked.usable:
        fatal = [problem for problem in checked.problems if problem.fatal]
        fail(f"{checked.name} cannot be used (problems: {len(fatal)}), the first in {fatal[0].file}: {fatal[0]}")
        raise typer.Exit(2)


def _print_counts(checked: Checked) -> None:
    table(f"{checked.name}: {checked.form}", ["split", *checked.splits],
          [[name, *(show(item) for item in checked.splits.values())] for name, show in COUNTS.items()])
    shown = sorted(checked.classes.items(), key=lambda item: -sum(item[1].values()))[:CLASSES]
    more = f", the {CLASSES} most frequent" if len(checked.classes) > CLASSES else ""
    table(f"Actions per class ({len(checked.classes)} classes{more})", ["class", *checked.splits],
          [[name, *(counts.get(split, 0) for split in checked.splits)] for name, counts in shown])
    if checked.files is not None:
        say(f"files: {checked.files['readable']} of {checked.files['listed']} listed videos can be read")


def _print_problems(checked: Checked) -> None:
    if not checked.problems:
        say("no problem found")
    for kind, problems in checked.kinds().items():
        say(f"{len(problems)} x {kind}{' (cannot be used)' if any(problem.fatal for problem in problems) else ''}")
        for problem in problems[:RECORDS]:
            say(f"  {problem.file}: {problem}")
        if len(problems) > RECORDS:
            say(f"  and {len(problems) - RECORDS} more (--json has all)")


def _range(lengths: Lengths | None) -> str:
    """Shortest, median and longest."""
    values = () if lengths is None else (lengths.shortest, lengths.median, lengths.longest)
    return " / ".join(f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in values)
