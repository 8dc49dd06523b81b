"""The command line: registers the commands, and turns bad input into one line on stderr and exit code 2."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tadshrink import __version__
from tadshrink.cli import align, data, detect, doctor, drop, evaluate, export, merge, profile, prune, report, run, select, sfc, train
from tadshrink.cli.console import fail
from tadshrink.cli.loading import reads_checkpoint
from tadshrink.distributed import stop
from tadshrink.errors import UserError

#: What is shown when no command is given.
START = """tadshrink makes temporal action detectors smaller and faster: it drops transformer blocks, and heals the model after each drop.

Try it on videos that it renders itself, with a detector that comes with it:
  tadshrink run --dataset synthetic --target 25%

A checkpoint of your own (.pth of tadshrink, OpenTAD, Progressive Block Drop or ActionFormer) and a dataset (YAML, or a built-in name):
  tadshrink run model.pth --dataset my.yaml --target 25%

What happens in a video, and when:
  tadshrink detect tadshrink-runs/my-25pct/final/model.pth video.mp4 --plot timeline.png

All commands: tadshrink --help    One of them, with an example: tadshrink run --help    This machine: tadshrink doctor"""

#: Commands that keep what they have done.
RESUMED = ("run", "train", "select", "align", "sfc base", "sfc train")
#: Exit status after Ctrl-C, as shells have it.
INTERRUPTED = 130

app = typer.Typer(
    name="tadshrink", rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=True,
    help="Make temporal action detectors smaller and faster: drop transformer blocks of the video backbone one at a time, and heal "
         "the model after each drop.",
    epilog="First steps: tadshrink run --dataset synthetic --target 25%",
)

for module in (run, train, evaluate, profile, select, drop, prune, align, merge, detect, export, report):
    command = module.command if module is train else reads_checkpoint(module.command)
    app.command(module.NAME, epilog=f"Example: {module.EXAMPLE}")(command)
app.command(doctor.NAME, epilog=f"Example: {doctor.EXAMPLE}")(doctor.command)
app.add_typer(data.app, name="data")
app.add_typer(sfc.app, name="sfc")


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"tadshrink {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(START)


def main() -> None:
    """Entry point of the ``tadshrink`` command."""
    # Threads that wait for each other by spinning are many times slower when cores are shared, as with the decoding thread.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        if os.environ.get("TADSHRINK_DEBUG") == "1":
            raise
        fail(str(error))
        code = 2
    except typer.TyperException as error:
        fail(f"{error.format_message().rstrip('.')}. Add --help to see what the command takes")
        code = 2
    else:
        stop()
    if code == INTERRUPTED:
        words = sys.argv[1:3]
        resumes = any(" ".join(words[:count]) in RESUMED for count in (1, 2))
        fail("interrupted" + ("; the same command goes on from the last finished epoch or stage" if resumes else ""))
    sys.exit(code)

