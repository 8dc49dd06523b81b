"""``tadshrink detect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, fail, say, table

NAME = "detect"
EXAMPLE = "tadshrink detect base.pth video.mp4 -o detections.json --plot timeline.png"
#: Rows of the table per video; the JSON has all detections.
SHOWN = 10


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT_OR_ONNX", help="Checkpoint (.pth), or an .onnx file of `tadshrink export`.",
                                               show_default=False, autocompletion=completion.models)],
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files, or files of features (.npy, .npz, .h5, .pt).",
                                                 show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="ActivityNet-style JSON to write.", show_default=False)] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Timeline picture (.png) to write.", show_default=False)] = None,
    top: Annotated[int, typer.Option(min=1, help="Most detections per video.")] = 100,
    score_threshold: Annotated[float, typer.Option(min=0, max=1, help="Leave out detections below this score.")] = 0.1,
    fps: Annotated[float | None, typer.Option(min=0.01, help="Frames per second of the videos that features come from; for "
                                              "videos, those that the model counts in. Default: of its training videos, if it knows them, "
                                              "else each video's own.", show_default=False)] = None,
    class_scores: options.ClassScores = None,
    device: options.Device = None,
    compiled: options.Compile = False,
    json: options.Json = False,
) -> None:
    """Detect actions in video files of any length. A broken file is named and does not stop the others."""
    from tadshrink.plotting import check_picture, plot_timelines
    from tadshrink.stages.detect import detect

    check_picture(plot)
    result = detect(checkpoint, videos, output, top, score_threshold, device, ConsoleReporter(), fps, class_scores, compiled)
    for name, found in result.detections.items():
        rows = zip(found.segments.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
        table(f"{name}: {len(found)} detections", ["label", "start", "end", "score"],
              [[result.classes[label], f"{start:.2f} s", f"{end:.2f} s", f"{score:.3f}"] for (start, end), score, label in rows][:SHOWN])
    if plot is not None and result.detections:
        plot_timelines(result, plot)
        say(f"timeline: {plot}")
    emit(json, result.to_json())
    for message in result.failed.values():
        fail(message)
    if result.failed:
        raise typer.Exit(2)
