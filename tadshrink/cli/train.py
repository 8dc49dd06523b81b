"""``tadshrink train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say

NAME = "train"
EXAMPLE = "tadshrink train --dataset synthetic --epochs 50 -o base.pth"


def command(
    dataset: options.Dataset,
    output: options.Output,
    arch: Annotated[str, typer.Option("--arch", metavar="A", help="videomae-nano, videomae-s, videomae-b, videomae-l, actionformer-nano "
                                                                     "(on features), or a YAML file.")] = "videomae-nano",
    init: Annotated[Path | None, typer.Option("--init", metavar="W", help="VideoMAE weights (.pth of MCG-NJU or mmaction2), or a "
                                              "detector, that the backbone starts from. Default: random weights.", show_default=False,
                                              autocompletion=completion.checkpoints)] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the training split.")] = 50,
    batch_size: options.BatchSize = 4,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 5e-4,
    seed: options.Seed = 0,
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train a baseline detector, from random weights or with a pre-trained backbone.

    The held-out part of the training split is not trained on. An interrupted training goes on when the command is repeated.
    """
    from tadshrink.cli.settings import settings_from
    from tadshrink.stages.common import DatasetChoice
    from tadshrink.stages.train import train
    from tadshrink.training.settings import TrainSettings

    settings = settings_from(TrainSettings, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)
    result = train(DatasetChoice(dataset, root, allow_missing), output, arch, settings, device, ConsoleReporter(), init)
    say(f"held-out average mAP {result.heldout['average_map']:.2f}; written to {result.output}, weights {result.checksum}")
    emit(json, result.to_json())
