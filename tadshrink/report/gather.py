"""From a work dir or a checkpoint to :class:`Findings`. Nothing is computed but the multiply-adds of a single checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from tadshrink.checkpoint.foreign.summary import summary as detector_summary
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile, path_of
from tadshrink.data.names import short_name
from tadshrink.errors import UserError
from tadshrink.files import read_json
from tadshrink.models.body import narrowed
from tadshrink.models.units import Unit, listed
from tadshrink.profiling.macs import detector_macs
from tadshrink.recognition.config import is_recogniser
from tadshrink.recognition.macs import pass_macs, view_macs
from tadshrink.recognition.opening import read_either
from tadshrink.recognition.opening import summary as recogniser_summary
from tadshrink.report.findings import PRUNING, Cost, Findings, Model, Segment, Step, Timeline
from tadshrink.reporting import SILENT, Reporter
from tadshrink.run_settings import RunSettings
from tadshrink.settings import problems_in
from tadshrink.stages.sides import side_of
from tadshrink.stopping import is_back
from tadshrink.work_dir import RESULT

#: Of the work dir, written by ``run`` at its start and at its end.
PLAN = "run.json"
BASELINE = "baseline/model.pth"
#: Detections in a few test videos, written by ``report`` once.
TIMELINES = "final/timelines.json"
#: What a plan has.
_PLANNED = ("dataset", "root", "settings", "device", "data", "architecture")
_MEASURED = ("blocks", "macs", "params", "latency_ms", "speedup", "checksum", "heldout", "test", "pruned")


def gather_run(folder: Path) -> Findings:
    """What a work dir holds, also of a run that has not ended.

    Raises:
        UserError: not a work dir, or a file in it is damaged.
    """
    if not (folder / PLAN).is_file():
        raise UserError(f"no run in this folder ({PLAN} is missing)", where=folder, fix="Give the work dir of tadshrink run, or a checkpoint")
    with as_written(folder):
        return _of_run(folder)


@contextmanager
def as_written(folder: Path) -> Iterator[None]:
    """Turns what goes wrong where the files of a work dir lack something into a :class:`UserError`. Of a checkpoint, all is checked when it
    is read.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if not folder.is_dir():
            raise
        told = "; ".join(problems_in(error)) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise UserError(f"its files are not as tadshrink run writes them ({told})", where=folder,
                        fix="Repair them, or give the checkpoint alone") from error


def _of_run(folder: Path) -> Findings:
    plan, result = read_json(folder / PLAN), _read(folder / RESULT) or {}
    if missing := [key for key in _PLANNED if key not in plan]:
        raise KeyError(", ".join(missing))
    if not (folder / BASELINE).exists():
        raise UserError("this run has only begun: there is nothing to tell yet", where=folder, fix="Try again when its baseline is measured")
    measured = _read(folder / "baseline/heldout.json")
    told = result.get("steps")
    if told is None:
        told = list(_unfinished(folder, measured, RunSettings.model_validate(plan["settings"])))
    steps = tuple(_step(folder / f"step-{number}", number, item) for number, item in enumerate(told, 1))
    latest = _latest(folder, steps)
    checkpoint = read_either(latest)
    tests = {name: _read(folder / name / "test.json") for name in ("baseline", "final")}
    baseline = _model("baseline", {**measured, "test": tests["baseline"]}) if measured else None
    told = result.get("final")
    findings = _of_checkpoint(folder, checkpoint, f"{short_name(plan['dataset'])}, target {plan['settings']['target']}")
    return replace(findings, file=latest.relative_to(folder).as_posix(), baseline=baseline, steps=steps,
                   final=_model("final", {**told, "test": tests["final"]}) if told else None, stopped=result.get("stopped_because"), plan=plan,
                   timelines=timelines_in(_read(folder / TIMELINES)), sound=result.get("checksum") in (None, findings.checksum))


def gather_checkpoint(file: Path | ModelFile, reporter: Reporter = SILENT) -> Findings:
    """What a checkpoint tells of itself: its history, a ranking if it holds one, and the multiply-adds that are counted here.

    Raises:
        UserError: not a sound checkpoint.
    """
    checkpoint, path = read_either(file, reporter), path_of(file)
    findings = _of_checkpoint(path, checkpoint, path.name)
    return replace(findings, steps=_told_steps(checkpoint), cost=_cost(checkpoint, path))


def _of_checkpoint(source: Path, checkpoint: Checkpoint, title: str) -> Findings:
    recogniser = is_recogniser(checkpoint.architecture)
    told = recogniser_summary if recogniser else detector_summary
    config = side_of(checkpoint).config(checkpoint.architecture, source)
    passes = recogniser and config.sfc is not None
    counted = f"a pass over {config.sfc.clips} clips" if passes else "a view" if recogniser else "a window"
    return Findings(source, title, told(checkpoint, source), config.block_count or 0, tuple(checkpoint.classes), tuple(checkpoint.dropped),
                    None, (), None, [dict(entry) for entry in checkpoint.history], checkpoint.checksum, source.name, recogniser=recogniser,
                    counted=counted)


def _model(name: str, told: dict[str, Any], dropped: Sequence[Unit] = (), kept: bool = True) -> Model:
    return Model(name, tuple(dropped), kept=kept, **{key: told.get(key) for key in _MEASURED})


def _latest(folder: Path, steps: Sequence[Step]) -> Path:
    """The checkpoint whose history tells most of what was kept."""
    kept = [number for number, step in enumerate(steps, 1) if step.model.kept]
    names = ["final/model.pth", *(f"step-{number}/{name}.pth" for number in kept[-1:] for name in ("merged", "aligned", "dropped", "pruned"))]
    return next((folder / name for name in names if (folder / name).is_file()), folder / BASELINE)


def _unfinished(folder: Path, before: dict[str, Any], settings: RunSettings) -> Iterator[dict[str, Any]]:
    """The steps that were measured of a run that has not ended, as its result will tell them."""
    last = before
    for number in count(1):
        measured = _read(folder / f"step-{number}/heldout.json")
        if measured is None:
            return
        pruned = (folder / f"step-{number}/prune.json").is_file()
        kept = is_back(settings, pruned, *(model["heldout"]["average_map"] for model in (measured, before)))
        yield {**measured, "kept": kept} | ({"pruned": (last["macs"] - measured["macs"]) / before["macs"]} if pruned else {})
        last = measured if kept else last


def _step(folder: Path, number: int, told: dict[str, Any]) -> Step:
    stages = {name: _read(folder / f"{name}.json") or {} for name in ("select", "drop", "prune", "align", "merge", "heldout")}
    gone = stages["drop"].get("now", told.get("dropped", []))
    model = _model(PRUNING if stages["prune"] else f"drop {number}", told, listed(gone), told.get("kept", True))
    seconds = {name: stage["seconds"] for name, stage in stages.items() if "seconds" in stage}
    return Step(model, stages["select"] or None, stages["align"].get("curve", []), seconds)


def _read(file: Path) -> Any:
    return read_json(file) if file.is_file() else None


#: Commands whose losses a history tells, beside those of ``align``.
_TRAININGS = ("train", "sfc base", "sfc train")


def _told_steps(checkpoint: Checkpoint) -> tuple[Step, ...]:
    """One step for each training in the history, and for each drop and pruning with the alignment after it; and the ranking that is there,
    for a drop to come."""
    steps: list[Step] = []
    drops = 0
    for entry in checkpoint.history:
        if entry["command"] in ("drop", "prune"):
            drops += entry["command"] == "drop"
            name = PRUNING if entry["command"] == "prune" else f"drop {drops}"
            steps.append(Step(Model(name, tuple(entry["metrics"].get("dropped", ())))))
        elif entry["command"] in _TRAININGS:
            steps.append(Step(Model(entry["command"]), curve=entry["metrics"].get("curve", [])))
        elif entry["command"] == "align" and steps:
            steps[-1] = replace(steps[-1], curve=entry["metrics"].get("curve", []))
    ranked = [Step(Model("ranking"), checkpoint.ranking)] if checkpoint.ranking else []
    return tuple(steps + ranked)


def _cost(checkpoint: Checkpoint, where: Path) -> Cost:
    """Counted without computing; the model with all its blocks is built without data."""
    side = side_of(checkpoint)
    config = side.config(checkpoint.architecture, where)
    model = side.build(checkpoint, where)
    with torch.device("meta"):
        whole = type(model)(narrowed(model.body, config, ()) if config.block_count else config).eval()
    if is_recogniser(checkpoint.architecture):
        count = view_macs if model.sfc is None else pass_macs
        counted, before = count(model), count(whole)
        blocks = {int(name.removeprefix("block:")): macs for name, macs in counted.parts.items() if name.startswith("block:") and macs}
        return Cost(counted.total, counted.parts, blocks, before.total)
    report = detector_macs(model)
    return Cost(report.total, report.parts, dict(zip(report.block_indices, report.per_block, strict=True)), detector_macs(whole).total)


def timelines_in(told: dict[str, Any] | None) -> tuple[Timeline, ...]:
    """What a file of timelines holds; nothing if there is none."""
    if told is None:
        return ()
    return tuple(Timeline(video["name"], video["duration"], *(_segments(video[key]) for key in ("truth", "baseline", "final")))
                 for video in told["videos"])


def _segments(items: list[dict[str, Any]]) -> tuple[Segment, ...]:
    return tuple(Segment(*item["segment"], item["label"], item.get("score", 1.0)) for item in items)
