"""``report``: one HTML file about a run, or about a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile, path_of
from tadshrink.data.annotations import VideoRecord
from tadshrink.data.datasets import Dataset
from tadshrink.data.sources import open_source
from tadshrink.errors import UserError, check_unused
from tadshrink.evaluation.detections import Detections, to_json
from tadshrink.evaluation.inference import detect_videos
from tadshrink.files import check_output, write_json
from tadshrink.report.findings import Findings
from tadshrink.report.gather import TIMELINES, as_written, gather_checkpoint, gather_run, timelines_in
from tadshrink.report.missing import missing
from tadshrink.report.page import write_page
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, fitted, open_detector
from tadshrink.stages.inputs import absent

#: Name of the report in a work dir.
REPORT = "report.html"
#: Of test videos.
VIDEOS = 3
#: What is kept of detections: the best ones, from this score on.
BEST, SCORE = 200, 0.1
_NO_TIMELINES = "Detections in test videos"


@dataclass(frozen=True)
class Reported:
    """A report that was written.

    Attributes:
        missing: what it does not tell, in sentences.
    """

    output: str
    bytes: int
    seconds: float
    missing: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write_report(source: Path | ModelFile, output: Path | None = None, videos: int | None = None, dataset: DatasetChoice | None = None,
                 device: str | None = None, reporter: Reporter = SILENT) -> Reported:
    """Tell of a work dir of ``run``, or of a checkpoint, in one HTML file.

    For the timelines, baseline and final model look at a few test videos. What they find is kept in the work dir, so that a later
    report takes a second.

    Args:
        output: default: ``report.html`` in the work dir, or the checkpoint's name with ``.html``.
        videos: in how many test videos to detect, 0 for none; default: in those of which the work dir tells, or in :data:`VIDEOS`.
        dataset: where they are now, to detect again; default: where the run had them.

    Raises:
        UserError: neither a work dir nor a sound checkpoint, something given that means nothing for it, or the output cannot be written.
    """
    started, path = time.perf_counter(), path_of(source)
    output = output or (path / REPORT if path.is_dir() else path.with_suffix(".html"))
    check_output(output, path)
    findings = _gather(source, videos, dataset, device, reporter)
    with as_written(path):
        size = write_page(findings, output)
    return Reported(str(output), size, time.perf_counter() - started, missing(findings))


def _gather(source: Path | ModelFile, videos: int | None, dataset: DatasetChoice | None, device: str | None, reporter: Reporter) -> Findings:
    path = path_of(source)
    _check_given(source, {"--videos": videos, "--dataset": dataset, "--device": device})
    if not path.is_dir():
        return gather_checkpoint(source, reporter)
    findings = gather_run(path)
    if findings.final is None:
        return findings
    if videos == 0:
        return replace(findings, timelines=(), notes=(f"{_NO_TIMELINES}: none were asked for (--videos 0).",))
    if findings.timelines and dataset is None and videos in (None, len(findings.timelines)):
        return findings
    try:
        made = _timelines(path, findings, dataset or _choice(findings), videos or VIDEOS, device, reporter)
    except UserError as error:
        reporter.note(f"no timelines: {error}")
        return replace(findings, notes=(f"{_NO_TIMELINES}: {error}.",))
    # A work dir that cannot be written to can be told of all the same.
    with suppress(UserError):
        write_json(path / TIMELINES, made)
    return replace(findings, timelines=timelines_in(made))


def _check_given(source: Path | ModelFile, for_runs: dict[str, Any]) -> None:
    """Raise a :class:`UserError` where something is given that only the other kind of source has a use for."""
    if path_of(source).is_dir():
        check_unused(source.settings.given() if isinstance(source, ModelFile) else {}, "for a work dir", source)
    else:
        check_unused(for_runs, "for a checkpoint", source)


def _choice(findings: Findings) -> DatasetChoice:
    """The dataset of the run."""
    plan = findings.plan or {}
    root = plan.get("root")
    return DatasetChoice(plan["dataset"], Path(root) if root else None, allow_missing=True)


def _timelines(work_dir: Path, findings: Findings, choice: DatasetChoice, count: int, device: str | None,
               reporter: Reporter) -> dict[str, Any]:
    """What is annotated and found in a few test videos, as plain data.

    Raises:
        UserError: the dataset is not here, or cannot be read.
    """
    opened, data = fitted(open_detector(work_dir / "final/model.pth", device, SILENT), choice.load(SILENT), SILENT)
    chosen = choose_videos(data, count)
    videos = [data.video(record) for record in chosen]
    source = open_source(data, opened.detector.config.sampling, reporter)
    found = {}
    for name in ("baseline", "final"):
        model = opened if name == "final" else open_detector(work_dir / "baseline/model.pth", device, SILENT)
        every = detect_videos(model.detector, videos, source, model.compute, name=f"report: {name}", reporter=reporter)
        found[name] = to_json({video: _best(items) for video, items in every.items()}, data.classes)["results"]
    return {"videos": [{"name": record.name, "duration": source.timeline(video).duration, "truth": _truth(record),
                        **{name: found[name][record.name] for name in found}} for record, video in zip(chosen, videos, strict=True)]}


def choose_videos(data: Dataset, count: int) -> list[VideoRecord]:
    """Test videos that are here: of the shorter half, those with most actions, so that it takes little time and shows much.

    Raises:
        UserError: there is none.
    """
    records = data.split("test")
    gone = {record.name for record in absent(data, records)}
    here = sorted((record for record in records if record.name not in gone and record.actions), key=lambda record: (_end(record), record.name))
    if not here:
        raise UserError("no test video with actions is here", where=data.where, fix="Give --dataset and --root")
    shorter = here[: max(count, (len(here) + 1) // 2)]
    return sorted(sorted(shorter, key=lambda record: -len(record.actions))[:count], key=lambda record: record.name)


def _end(record: VideoRecord) -> float:
    """In seconds; where the annotations do not say how long a video is, the end of its last action."""
    return record.duration or max(action.end for action in record.actions)


def _truth(record: VideoRecord) -> Sequence[dict[str, Any]]:
    return [{"segment": [action.start, action.end], "label": action.label} for action in record.actions]


def _best(found: Detections) -> Detections:
    kept = found.take(found.scores >= SCORE)
    return kept.take(slice(BEST))
