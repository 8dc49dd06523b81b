"""``tadshrink export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say
from tadshrink.errors import UserError, check_unused

NAME = "export"
EXAMPLE = "tadshrink export final.pth --onnx final.onnx --dataset synthetic"
_PANEL = "ONNX files (--onnx)"
_QUANTISERS = ("dynamic", "static")


def command(
    checkpoint: options.Checkpoint,
    onnx: Annotated[Path | None, typer.Option("--onnx", metavar="OUT", help="File for ONNX Runtime, with the preparation of the frames in it; "
                                              "it is checked against the checkpoint before it is written.", show_default=False)] = None,
    opentad: Annotated[Path | None, typer.Option("--opentad", metavar="OUT", help="File for OpenTAD, its Progressive-Block-Drop fork or the "
                                                 "original ActionFormer, which load it strictly.", show_default=False)] = None,
    tadshrink: Annotated[Path | None, typer.Option("--tadshrink", metavar="OUT", help="tadshrink checkpoint.", show_default=False)] = None,
    layout: Annotated[str | None, typer.Option("--layout", metavar="opentad|fork|actionformer", help="Whose file --opentad writes. Default: "
                                               "where the weights came from, or who can hold them.", show_default=False)] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights and arithmetic in 16 bits (for GPUs).", rich_help_panel=_PANEL)] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Products with weights in 8 bits.", rich_help_panel=_PANEL)] = False,
    quantise: Annotated[str | None, typer.Option("--quantise", metavar="dynamic|static", help="Ranges for --int8: found anew in every "
                                                 "call (the default: it lost less mAP and was faster), or measured once on real windows.",
                                                 show_default=False, rich_help_panel=_PANEL)] = None,
    with_nms: Annotated[bool, typer.Option("--with-nms", help="Hard NMS inside the graph; default: all points, for any NMS.",
                                           rich_help_panel=_PANEL)] = False,
    nms_iou: Annotated[float | None, typer.Option("--nms-iou", min=0, max=1, help="tIoU from which --with-nms suppresses. Default: the "
                                                  "model's, else 0.5.", show_default=False, rich_help_panel=_PANEL)] = None,
    cells: Annotated[int | None, typer.Option("--cells", min=1, help="Grid cells of the longest video, for models on features that see whole "
                                              "videos. Default: the model's window.", show_default=False, rich_help_panel=_PANEL)] = None,
    provider: Annotated[str | None, typer.Option("--provider", metavar="cpu|cuda", help="What must run the check. Default: CUDA if it is "
                                                 "there.", show_default=False, rich_help_panel=_PANEL)] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="D", help="Check (and calibrate) on windows of its held-out videos: "
                                                "built-in name, or path of a dataset YAML.", show_default=False,
                                                rich_help_panel=_PANEL, autocompletion=completion.datasets)] = None,
    root: options.Root = None,
    video: Annotated[Path | None, typer.Option("--video", metavar="FILE", help="Or on windows of one video, or file of features. Default: "
                                               "noise.", show_default=False, rich_help_panel=_PANEL)] = None,
    fps: Annotated[float | None, typer.Option("--fps", min=0.01, help="Frames per second of the video that these features come from.",
                                              show_default=False, rich_help_panel=_PANEL)] = None,
    json: options.Json = False,
) -> None:
    """Write a checkpoint for ONNX Runtime, or in the form of another code base."""
    from tadshrink.onnx_export.settings import OnnxSettings
    from tadshrink.stages.common import DatasetChoice
    from tadshrink.stages.export import Seen, export

    if opentad is None:
        check_unused({"--layout": layout}, "without --opentad", fix="Give --opentad OUT, or leave it out")
    _check(onnx, {"--fp16": fp16, "--int8": int8, "--quantise": quantise, "--with-nms": with_nms, "--nms-iou": nms_iou, "--cells": cells,
                  "--provider": provider,
                  "--dataset": dataset, "--root": root, "--video": video, "--fps": fps})
    precision = "fp16" if fp16 else "int8" if int8 else "fp32"
    settings = OnnxSettings(precision, with_nms, nms_iou, provider, quantise == "static", cells)
    seen = Seen(None if dataset is None else DatasetChoice(dataset, root), video, fps)
    result = export(checkpoint, opentad, tadshrink, layout, ConsoleReporter(), onnx, settings, seen)
    for path, note in result.written.items():
        say(f"{path}: {note}")
    say(f"weights {result.checksum}")
    emit(json, result.to_json())


def _check(onnx: Path | None, given: dict[str, Any]) -> None:
    """Raise a :class:`UserError` unless the options go together."""
    given = {name: value for name, value in given.items() if value not in (None, False)}
    if onnx is None:
        check_unused(given, "without --onnx", fix="Give --onnx OUT, or leave it out")
    for one, other in (("--fp16", "--int8"), ("--dataset", "--video")):
        if one in given and other in given:
            raise UserError(f"{one} and {other} exclude each other", fix="Give one of them")
    for name, needed in (("--quantise", "--int8"), ("--nms-iou", "--with-nms"), ("--root", "--dataset"), ("--fps", "--video")):
        if needed not in given:
            check_unused({name: given.get(name)}, f"without {needed}")
    if given.get("--quantise") not in (None, *_QUANTISERS):
        raise UserError(f"unknown way to quantise {given['--quantise']!r}", fix=f"Ways: {', '.join(_QUANTISERS)}")
