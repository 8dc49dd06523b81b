"""``tadshrink eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit, say, table
from tadshrink.errors import UserError, check_unused

if TYPE_CHECKING:
    from tadshrink.evaluation.scoring import Score

NAME = "eval"
EXAMPLE = "tadshrink eval base.pth --dataset synthetic --split testing"

#: Windows per batch, where it is not said.
_BATCH = 8
_FILES = "Detections of any tool, without a model"
#: With more thresholds the table of classes has only their average.
_MOST_COLUMNS = 5
_COUNTS = {"videos": "videos", "ground_truths": "actions", "detections": "detections"}
_KINDS = {
    "true_positive": "true positive", "double_detection": "double detection", "wrong_label": "wrong label",
    "localisation": "localisation (tIoU 0.1 and more, right class)", "confusion": "confusion (tIoU 0.1 and more, wrong class)",
    "background": "background (tIoU below 0.1)", "ambiguous": "in an ambiguous region",
}  # fmt: skip


def command(
    checkpoint: Annotated[Path | None, typer.Argument(metavar="CKPT", help="Checkpoint (.pth), or .onnx file, to evaluate.",
                                                       show_default=False, autocompletion=completion.models)] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="D", help="Built-in dataset name, or path of a dataset YAML.",
                                                show_default=False, autocompletion=completion.datasets)] = None,
    split: options.Split = "testing",
    rule: Annotated[str | None, typer.Option(metavar="RULE", help="activitynet, thumos14 (the organisers'), or for comparison "
                                             "activitynet-official, actionformer. Default: the dataset's, else activitynet.",
                                             show_default=False)] = None,
    tiou: Annotated[str | None, typer.Option(metavar="T", help="Thresholds: 0.3:0.7:0.1 or 0.5,0.75. Default: the dataset's, else 0.3:0.7:0.1.",
                                             show_default=False)] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="JSON", help="File for the detections that are scored.",
                                                show_default=False)] = None,
    results: Annotated[Path | None, typer.Option(metavar="JSON", help="Detections in ActivityNet's layout (.json or .json.gz).",
                                                 show_default=False, rich_help_panel=_FILES)] = None,
    annotations: Annotated[Path | None, typer.Option(metavar="FILE", help="What to compare them with, in place of --dataset.",
                                                     show_default=False, rich_help_panel=_FILES)] = None,
    blocked: Annotated[Path | None, typer.Option(metavar="FILE", help="List of videos to leave out (with --annotations).",
                                                 show_default=False, rich_help_panel=_FILES)] = None,
    classes: Annotated[Path | None, typer.Option(metavar="FILE", help="List of class names, where labels are numbers (with --annotations).",
                                                 show_default=False, rich_help_panel=_FILES)] = None,
    only_split: Annotated[bool, typer.Option("--only-split", help="Leave out detections in other videos; default: they count as wrong.",
                                             rich_help_panel=_FILES)] = False,
    class_scores: options.ClassScores = None,
    batch_size: options.BatchSize = _BATCH,
    root: options.Root = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = None,
    compiled: options.Compile = False,
    json: options.Json = False,
) -> None:
    """mAP of a checkpoint, or of a file of detections, on a split: at each tIoU and per class; recall, and kinds of errors."""
    from tadshrink.evaluation.mean_ap import TIOU_THRESHOLDS
    from tadshrink.evaluation.rules import ACTIVITYNET, find_rule
    from tadshrink.evaluation.scoring import parse_tiou

    of_model = {"CKPT": checkpoint, "-o": output, "--class-scores": class_scores, "--compile": compiled or None, "--device": device,
                "--batch-size": None if batch_size == _BATCH else batch_size}
    of_data = {"--root": root, "--allow-missing": allow_missing or None}
    of_files = {"--annotations": annotations, "--blocked": blocked, "--classes": classes, "--only-split": only_split or None}
    _check(results, dataset, of_model, of_files, of_data)
    named, thresholds, reporter = rule and find_rule(rule), parse_tiou(tiou) if tiou is not None else None, ConsoleReporter()
    if annotations is not None:
        from tadshrink.stages.score import score_results

        assert results is not None
        scored = score_results(results, annotations, split, named or ACTIVITYNET, thresholds or TIOU_THRESHOLDS, blocked, classes, only_split,
                               reporter)
    else:
        from tadshrink.stages.common import DatasetChoice
        from tadshrink.stages.evaluate import evaluate, evaluate_results

        assert dataset is not None
        choice = DatasetChoice(dataset, root, allow_missing)
        scored = (evaluate_results(results, choice, split, named, thresholds, only_split, reporter) if results else
                  evaluate(checkpoint, choice, split, batch_size, device, reporter, class_scores, named, thresholds, output, compiled))
    print_score(f"{results or checkpoint} on {split}", scored)
    emit(json, scored.to_json())


def _check(results: Path | None, dataset: str | None, of_model: dict[str, Any], of_files: dict[str, Any], of_data: dict[str, Any]) -> None:
    """Raise a :class:`UserError` unless the options go together: CKPT --dataset, or --results with --dataset or --annotations."""
    if results is None and of_model["CKPT"] is None:
        raise UserError("nothing to evaluate", fix="Give a checkpoint (CKPT) and --dataset, or a file of detections (--results)")
    check_unused(of_files if results is None else of_model, f"{'without' if results is None else 'beside'} --results")
    if (dataset is None) == (of_files["--annotations"] is None):
        both = " or --annotations: one of the two" if results is not None else ""
        raise UserError(f"Missing option '--dataset'{both}", fix="Add --help to see what the command takes")
    if dataset is None:
        check_unused(of_data, "with --annotations")
    else:
        check_unused({name: of_files[name] for name in ("--blocked", "--classes")}, "with --dataset", fix="Say it in the dataset YAML")


def print_score(title: str, scored: Score) -> None:
    """mAP and recall by tIoU, AP by class, kinds of errors."""
    result = scored.to_json()
    tious, columns = list(result["map"]), {"mAP": result["map"], **{f"recall@{name}": row for name, row in result["recall"].items()}}
    counts = ", ".join(f"{result[key]} {text}" for key, text in _COUNTS.items())
    table(f"{title}: {counts}, rule {result['rule']} (in %)", ["tIoU", *columns],
          [*([tiou, *(_percent(column[tiou]) for column in columns.values())] for tiou in tious),
           ["average", *(_percent(sum(column.values()) / len(column)) for column in columns.values())]])
    if interval := result["confidence_interval"]:
        say(f"average mAP, {interval['level']} % interval: {interval['low']:.2f} to {interval['high']:.2f} "
            f"({interval['resamples']} resamples of the videos)")
    shown = tious if len(tious) <= _MOST_COLUMNS else []
    table("Average AP per class", ["class", *shown, "AP"],
          [[name, *(_percent(result["per_class_map"][name][tiou]) for tiou in shown), _percent(value)]
           for name, value in result["per_class"].items()])
    errors = result["false_positives"]
    table(f"The best {errors['predictions']} detections (up to {errors['top']} per action and class) at tIoU {errors['tiou']:g}", ["kind", "%"],
          [[text, _percent(errors[name])] for name, text in _KINDS.items() if name != "ambiguous" or errors[name]])


def _percent(value: float) -> str:
    return f"{value:.2f}"
