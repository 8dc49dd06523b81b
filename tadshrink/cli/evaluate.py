"""``tadshrink eval``."""

from __future__ import annotations

from typing import Any

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, table

NAME = "eval"
EXAMPLE = "tadshrink eval base.pth --dataset synthetic --split testing"


def command(
    checkpoint: options.Checkpoint,
    dataset: options.Dataset,
    split: options.Split = "testing",
    class_scores: options.ClassScores = None,
    batch_size: options.BatchSize = 8,
    root: options.Root = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """mAP of a checkpoint on a split: at each tIoU, on average, and per class."""
    from tadshrink.stages.common import DatasetChoice
    from tadshrink.stages.evaluate import evaluate

    result = evaluate(checkpoint, DatasetChoice(dataset, root), split, batch_size, device, ConsoleReporter(), class_scores).to_json()
    print_map(f"{checkpoint} on {split}", result)
    emit(json, result)


def print_map(title: str, result: dict[str, Any]) -> None:
    """mAP by tIoU and AP by class."""
    table(f"{title}: {result['videos']} videos, {result['ground_truths']} actions (mAP in %)",
          ["tIoU", *result["map"], "average"], [["mAP", *(f"{value:.2f}" for value in result["map"].values()), f"{result['average_map']:.2f}"]])
    table("Average AP per class", ["class", "AP"], [[name, f"{value:.2f}"] for name, value in result["per_class"].items()])
