"""``tadshrink align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say
from tadshrink.cli.settings import settings_from, takes
from tadshrink.compress.settings import AlignSettings

NAME = "align"
EXAMPLE = "tadshrink align dropped.pth --teacher base.pth --dataset synthetic -o aligned.pth"

#: Settings that mean nothing for a single alignment.
RUN_ONLY = ("early_epochs", "teacher")


@takes(AlignSettings, exclude=RUN_ONLY)
def command(
    checkpoint: options.Checkpoint,
    teacher: Annotated[Path, typer.Option("--teacher", metavar="BASE", help="The uncompressed model.", show_default=False,
                                          autocompletion=completion.checkpoints)],
    dataset: options.Dataset,
    output: options.Output,
    settings: dict[str, Any],
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Heal a model after a drop: LoRA fine-tuning against the uncompressed teacher.

    An interrupted alignment goes on from the last finished epoch when the command is repeated. Started by torchrun, its processes
    share the work.
    """
    from tadshrink.stages.align import align
    from tadshrink.stages.common import DatasetChoice

    chosen = settings_from(AlignSettings, **settings)
    result = align(checkpoint, teacher, DatasetChoice(dataset, root, allow_missing), output, chosen, device, ConsoleReporter())
    if result.curve:
        say("losses of the last epoch: " + ", ".join(f"{name} {value:.4f}" for name, value in result.curve[-1].items()))
    say(f"written to {result.output}{' (LoRA not merged yet: tadshrink merge)' * result.lora}, weights {result.checksum}")
    emit(json, result.to_json())
