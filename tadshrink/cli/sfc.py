"""``tadshrink sfc``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, fail, say, table
from tadshrink.cli.loading import reads_checkpoint
from tadshrink.cli.settings import settings_from, takes
from tadshrink.recognition.settings import ClipTrainSettings, ModuleTrainSettings

if TYPE_CHECKING:
    from tadshrink.stages.sfc_eval import Judged

app = typer.Typer(help="Recognise trimmed videos, in one pass instead of many views (Selective Feature Compression).",
                  epilog="Example: tadshrink sfc base --dataset synthetic-clips -o base.pth")

_MODULE = "The compressing module"
_Data = Annotated[str, typer.Option("--dataset", metavar="D", help="synthetic-clips, a folder with a folder per class, a CSV file of "
                                    "path,label[,start,end][,subset], or the path of a YAML.", show_default=False,
                                    autocompletion=completion.clips)]
_Root = Annotated[Path | None, typer.Option("--root", help="Folder of the built-in datasets, or of the clips of a YAML. Default: "
                                            "TADSHRINK_DATA, else the user's cache folder; for a YAML, its own folder.", show_default=False)]


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("base", epilog="Example: tadshrink sfc base --dataset synthetic-clips --arch recogniser-nano -o base.pth")
@takes(ClipTrainSettings)
def base(
    dataset: _Data,
    output: options.Output,
    settings: dict[str, Any],
    arch: Annotated[str, typer.Option("--arch", metavar="NAME", help="recogniser-nano, slowonly-nano, slowonly-r50, videomae-s, videomae-b "
                                      "or videomae-l.")] = "recogniser-nano",
    init: Annotated[Path | None, typer.Option("--init", metavar="W", help="VideoMAE weights (.pth of MCG-NJU or mmaction2), or a detector, "
                                              "that a ViT starts from. Default: random weights.", show_default=False,
                                              autocompletion=completion.checkpoints)] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames of a clip. Default: the architecture's.",
                                               show_default=False)] = None,
    stride: Annotated[int | None, typer.Option("--stride", min=1, help="Frames of the video from one of a clip to the next. Default: "
                                               "the architecture's.", show_default=False)] = None,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Pixels of a clip's side. Default: the architecture's.",
                                             show_default=False)] = None,
    root: _Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train a recogniser on random clips of trimmed videos.

    The held-out part of the training videos is not trained on. An interrupted training goes on when the command is repeated.
    """
    from tadshrink.stages.recognisers import RecognitionChoice
    from tadshrink.stages.sfc_base import train_base

    chosen = settings_from(ClipTrainSettings, **settings)
    clip = {key: value for key, value in (("frames", frames), ("stride", stride), ("size", size)) if value is not None}
    result = train_base(RecognitionChoice(dataset, root, allow_missing), output, arch, chosen, device, ConsoleReporter(), clip, init)
    _say_trained(result.heldout, result.views, result.output, result.checksum)
    emit(json, result.to_json())


@app.command("train", epilog="Example: tadshrink sfc train base.pth --dataset synthetic-clips --split-at block:3 --ratio 0.1 -o sfc.pth")
@reads_checkpoint
@takes(ModuleTrainSettings)
def train(
    checkpoint: options.Checkpoint,
    dataset: _Data,
    output: options.Output,
    split_at: Annotated[str, typer.Option("--split-at", metavar="PLACE", help="The last part that sees all clips: a stage (res3) of a "
                                          "slow-only network, a block (block:3) of a ViT.", show_default=False, rich_help_panel=_MODULE)],
    settings: dict[str, Any],
    ratio: Annotated[float, typer.Option(help="Share of the steps of time that is left.", rich_help_panel=_MODULE)] = 0.1,
    clips: Annotated[int, typer.Option(min=1, help="Clips that are spread over a video.", rich_help_panel=_MODULE)] = 10,
    pool: Annotated[str, typer.Option(metavar="topk|avg|max|none", help="How queries are pooled over time.",
                                      rich_help_panel=_MODULE)] = "topk",
    topk: Annotated[int | None, typer.Option("--topk", min=1, help="Strongest values that topk averages; of fewer, all. Default: half of them.",
                                             show_default=False, rich_help_panel=_MODULE)] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Channels of queries and keys. Default: a quarter of the features'.",
                                              show_default=False, rich_help_panel=_MODULE)] = None,
    crops: Annotated[int, typer.Option(min=1, max=9, help="Each clip is a square crop, of so many along the longer side in turn; 1: the "
                                       "middle.", rich_help_panel=_MODULE)] = 3,
    attention: Annotated[str, typer.Option(metavar="time|space-time", help="What a query attends to: its own place in each clip's "
                                           "crop, or all places.", rich_help_panel=_MODULE)] = "time",
    root: _Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train a module that compresses the features of a whole video in time; the recogniser around it stays as it is, bit for bit.

    An interrupted training goes on when the command is repeated.
    """
    from tadshrink.recognition.config import SfcConfig
    from tadshrink.stages.recognisers import RecognitionChoice
    from tadshrink.stages.sfc_train import train_module

    chosen = settings_from(ModuleTrainSettings, **settings)
    module = settings_from(SfcConfig, split=split_at, clips=clips, crops=crops, ratio=ratio, pool=pool, topk=topk, width=width,
                           attention=attention)
    result = train_module(checkpoint, RecognitionChoice(dataset, root, allow_missing), output, module, chosen, device, ConsoleReporter())
    _say_trained(result.heldout, result.views, result.output, result.checksum)
    emit(json, result.to_json())


@app.command("eval", epilog="Example: tadshrink sfc eval sfc.pth --dataset synthetic-clips --views sfc")
@reads_checkpoint
def evaluate(
    checkpoint: options.Checkpoint,
    dataset: _Data,
    views: Annotated[str, typer.Option(metavar="VIEWS", help="Clips x crops whose probabilities are averaged (10x3, 10x1, 1x1, ...; "
                                       "10x1of3: one crop of each clip, of three in turn), uniform: one clip spread over the video, or sfc: "
                                       "one pass with the module.")] = "10x3",
    split: Annotated[str, typer.Option("--split", "--subset-split", help="testing, heldout (a fixed part of training that is never trained "
                                       "on), or another split of the dataset.")] = "testing",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Clips per batch.")] = 16,
    root: _Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Accuracy of a recogniser on a split: top-1, top-5, and per class."""
    from tadshrink.stages.recognisers import RecognitionChoice
    from tadshrink.stages.sfc_eval import evaluate_recogniser

    result = evaluate_recogniser(checkpoint, RecognitionChoice(dataset, root, allow_missing), views, split, batch_size, device,
                                 ConsoleReporter())
    _print_accuracy(checkpoint, result)
    emit(json, result.to_json())


@app.command("classify", epilog="Example: tadshrink sfc classify sfc.pth video.mp4")
@reads_checkpoint
def classify(
    checkpoint: options.Checkpoint,
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files, trimmed to one action each.", show_default=False)],
    views: Annotated[str | None, typer.Option(metavar="VIEWS", help="As for sfc eval. Default: sfc, or 10x1 without a module.",
                                              show_default=False)] = None,
    top: Annotated[int, typer.Option(min=1, help="Guesses per video.")] = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Clips per batch.")] = 16,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Name the action in trimmed video files, with probabilities. A broken file is named and does not stop the others."""
    from tadshrink.stages.sfc_classify import classify

    result = classify(checkpoint, videos, views, top, batch_size, device, ConsoleReporter())
    for path, guesses in result.guesses.items():
        table(path, ["label", "probability"], [[label, f"{probability:.3f}"] for label, probability in guesses])
    emit(json, result.to_json())
    for message in result.failed.values():
        fail(message)
    if result.failed:
        raise typer.Exit(2)


def _say_trained(heldout: dict[str, Any], views: str, output: str, checksum: str) -> None:
    say(f"held-out top-1 {heldout['top1']:.2f}, top-5 {heldout['top5']:.2f} ({heldout['videos']} videos, views {views}); "
        f"written to {output}, weights {checksum}")


def _print_accuracy(checkpoint: object, result: Judged) -> None:
    found = result.accuracy
    rows = [["all", found.videos, f"{found.top1:.2f}", f"{found.top5:.2f}"], ["mean of classes", "", f"{found.mean_class:.2f}", ""]]
    rows += [[name, row["videos"], f"{row['top1']:.2f}", f"{row['top5']:.2f}"] for name, row in found.per_class.items()]
    table(f"{checkpoint} on {result.split}, views {result.views} (in %)", ["class", "videos", "top-1", "top-5"], rows)
    interval = found.to_json()["top1_interval"]
    say(f"top-1, {interval['level']} % interval: {interval['low']:.2f} to {interval['high']:.2f} "
        "(for other videos like these, each taken as independent)")
