"""``tadshrink data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, say

app = typer.Typer(help="Make datasets.", epilog="Example: tadshrink data make synthetic")


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("make", epilog="Example: tadshrink data make synthetic --videos 100 --root /tmp/data")
def make(
    name: Annotated[str, typer.Argument(help="synthetic", show_default=False)],
    root: Annotated[Path | None, typer.Option("--root", help="The dataset goes to ROOT/synthetic. Default: TADSHRINK_DATA, else the user's "
                                              "cache folder.", show_default=False)] = None,
    seed: options.Seed = 0,
    videos: Annotated[int, typer.Option(min=10, help="Number of videos in all splits together.")] = 600,
    json: options.Json = False,
) -> None:
    """Render a built-in dataset: untrimmed H.264 videos and an ActivityNet-style annotation file."""
    from tadshrink.data.datasets import data_root
    from tadshrink.data.synthetic import make_synthetic
    from tadshrink.errors import UserError
    from tadshrink.files import check_output

    if name != "synthetic":
        raise UserError(f"cannot make {name!r}", fix="The dataset that can be made is: synthetic")
    folder = (root or data_root()) / name
    check_output(folder / "annotations.json")
    path = make_synthetic(folder, seed, videos, ConsoleReporter())
    say(f"{videos} videos in {folder}, annotations in {path}")
    emit(json, {"output": str(path), "videos": videos, "seed": seed})
