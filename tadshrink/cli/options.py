"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadshrink.cli import completion
from tadshrink.errors import check_unused

if TYPE_CHECKING:
    from tadshrink.stages.common import DatasetChoice

Checkpoint = Annotated[Path, typer.Argument(metavar="CKPT", help="Checkpoint (.pth) to read.", show_default=False,
                                              autocompletion=completion.checkpoints)]
Dataset = Annotated[str, typer.Option("--dataset", metavar="D", help="Built-in dataset name, or path of a dataset YAML.", show_default=False,
                                       autocompletion=completion.datasets)]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Checkpoint (.pth) to write.", show_default=False,
                                        autocompletion=completion.checkpoints)]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of the built-in datasets, or of the data of a YAML. Default: "
                                           "TADSHRINK_DATA, else the user's cache folder; for a YAML, its own folder.", show_default=False)]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Go on without the videos that are annotated and not here; they are "
                                            "counted and named. Default: they are an error.")]
Device = Annotated[str | None, typer.Option("--device", help="Such as cpu or cuda. Default: a GPU if there is one.", show_default=False)]
Compile = Annotated[bool, typer.Option("--compile", help="By torch.compile, which takes minutes the first time; faster on some machines, not "
                                       "on all. Eagerly where it fails.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Windows per batch.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Split = Annotated[str, typer.Option("--split", help="training, heldout (a fixed part of training that is never trained on), validation, "
                                    "testing, or a split of the annotation file.")]
ClassScores = Annotated[Path | None, typer.Option("--class-scores", metavar="JSON", help="Scores of whole videos by a classifier, which "
                                                  "name the proposals of a model of one class (ActivityNet).", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]


def dataset_choice(dataset: str | None, root: Path | None, allow_missing: bool = False) -> DatasetChoice | None:
    """What ``--dataset`` and ``--root`` say, where a dataset is not a must.

    Raises:
        UserError: ``--root`` alone.
    """
    from tadshrink.stages.common import DatasetChoice

    if not dataset:
        check_unused({"--root": root}, "without --dataset", fix="Give both, or neither")
    return DatasetChoice(dataset, root, allow_missing) if dataset else None
