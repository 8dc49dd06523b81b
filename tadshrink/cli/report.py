"""``tadshrink report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say

NAME = "report"
EXAMPLE = "tadshrink report tadshrink-runs/synthetic-25pct -o report.html"


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="WORK_DIR_OR_CKPT", help="Work dir of `tadshrink run`, also of a run that has not "
                                               "ended; or a checkpoint (.pth).", show_default=False, autocompletion=completion.checkpoints)],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="HTML", help="File to write. Default: report.html in the work dir, "
                                                "or the checkpoint's name with .html.", show_default=False)] = None,
    videos: Annotated[int | None, typer.Option("--videos", min=0, help="Test videos in which baseline and final model detect, for the "
                                               "timelines. Default: those of which the work dir tells, or 3.", show_default=False)] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="D", help="Where these videos are now. Default: where the run had them.",
                                                show_default=False, autocompletion=completion.datasets)] = None,
    root: options.Root = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Tell of a run in one HTML file: what went, what it cost, what it gained, how to do the same again, and what was not measured.

    The file needs nothing else and no network. Of a checkpoint alone it tells what its history holds.
    """
    from tadshrink.stages.report import write_report

    choice = options.dataset_choice(dataset, root, allow_missing=True)
    result = write_report(checkpoint, output, videos, choice, device, ConsoleReporter())
    say(f"written to {result.output} ({result.bytes / 1e3:.0f} kB, {result.seconds:.1f} s)")
    emit(json, result.to_json())
