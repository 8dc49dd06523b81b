"""``tadshrink align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, say

NAME = "align"
EXAMPLE = "tadshrink align dropped.pth --teacher base.pth --dataset synthetic -o aligned.pth"

#: Defaults stand in tadshrink.compress.alignment.AlignSettings; None here means those.
Epochs = Annotated[int | None, typer.Option("--epochs", min=0, help="Passes over the training split.", show_default=False)]
Rate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.", show_default=False)]
Rank = Annotated[int | None, typer.Option("--rank", min=1, help="LoRA rank. Default: a quarter of the backbone's width.", show_default=False)]
ClassKd = Annotated[str | None, typer.Option("--cls-kd", help="binary (per class, default) or softmax (as published).", show_default=False)]


def command(
    checkpoint: options.Checkpoint,
    teacher: Annotated[Path, typer.Option("--teacher", metavar="BASE", help="The uncompressed model.", show_default=False)],
    dataset: options.Dataset,
    output: options.Output,
    epochs: Epochs = None,
    lr: Rate = None,
    rank: Rank = None,
    cls_kd: ClassKd = None,
    seed: options.Seed = 0,
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Heal a model after a drop: LoRA fine-tuning against the uncompressed teacher.

    An interrupted alignment goes on from the last finished epoch when the command is repeated.
    """
    from tadshrink.cli.settings import settings_from
    from tadshrink.compress.alignment import AlignSettings
    from tadshrink.stages.align import align
    from tadshrink.stages.common import DatasetChoice

    settings = settings_from(AlignSettings, epochs=epochs, lr=lr, rank=rank, cls_kd=cls_kd, seed=seed)
    result = align(checkpoint, teacher, DatasetChoice(dataset, root, allow_missing), output, settings, device, ConsoleReporter())
    if result.curve:
        say("losses of the last epoch: " + ", ".join(f"{name} {value:.4f}" for name, value in result.curve[-1].items()))
    say(f"written to {result.output} (LoRA not merged yet: tadshrink merge), weights {result.checksum}")
    emit(json, result.to_json())
