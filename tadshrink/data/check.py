"""Problems of a dataset as a whole: its splits and classes, and its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tadshrink.data.annotations import Found, Problem, VideoRecord
from tadshrink.data.damage import damage
from tadshrink.data.datasets import Dataset, how_to_get
from tadshrink.data.overlaps import SplitFile, same_files
from tadshrink.data.sources import Source, VideoSource, open_source
from tadshrink.data.statistics import count_classes
from tadshrink.data.timeline import Video
from tadshrink.errors import UserError
from tadshrink.models.config import SamplingConfig
from tadshrink.reporting import Reporter

#: A file may be so much longer or shorter than annotated: seconds, cells of the grid, or a share of the duration.
SECONDS, CELLS, SHARE = 0.5, 2, 0.02


def no_videos(found: Found) -> list[Problem]:
    """That there is not one video."""
    return [] if found.records else [Problem("no video", found.path, "annotations", "there is not one video in them", fatal=True)]


def class_problems(found: Found, classes: Sequence[str], train: str | None = None) -> Iterator[Problem]:
    """Classes of which there is no action at all, or none to train on."""
    for name, counts in count_classes(found.records, classes).items():
        if not counts:
            yield Problem("class without actions", found.path, f"class {name!r}", "no action has this label")
        elif train is not None and train not in counts and any(record.subset == train for record in found.records):
            yield Problem("class not trained on", found.path, f"class {name!r}", f"no action of {train!r} has this label")


def split_problems(dataset: Dataset, file: Path) -> Iterator[Problem]:
    """Splits named in the configuration that are not there, or have no action."""
    config = dataset.config.splits
    roles = {"train": config.train, "test": config.test}
    with_actions = {record.subset for record in dataset.records if record.actions}
    missing = {role: subset for role, subset in roles.items() if subset not in with_actions}
    for role, subset in missing.items():
        present = ", ".join(sorted({record.subset for record in dataset.records}))
        yield Problem("missing split", file, f"split {role!r}", f"no video with an action is in {subset!r}; the splits are: {present}",
                      fatal=len(missing) == len(roles))


def file_problems(dataset: Dataset, blocked: Sequence[str], reporter: Reporter) -> tuple[list[Problem], dict[str, float]]:
    """Problems of the files of videos or features, and the durations of those that can be read."""
    if gone := [folder for folder in dataset.folders if not folder.is_dir()]:
        text = f"there is no such folder. {how_to_get(dataset.config, dataset.root)}".strip()
        return [Problem("no folder", folder, dataset.config.kind, text, fatal=True) for folder in gone], {}
    here = [record for record in dataset.records if all(path.is_file() for path in dataset.files(record))]
    problems = [*_absent(dataset, here), *_not_listed(dataset, blocked)]
    problems += same_files(SplitFile(dataset.part_of(record), f"video {record.name!r}", dataset.files(record)[0]) for record in here)
    opened, durations = _open_all(dataset, here, reporter)
    return problems + opened, durations


def _absent(dataset: Dataset, here: list[VideoRecord]) -> Iterator[Problem]:
    """Annotated videos without a file; the dataset cannot be used where a split that it trains or tests on has none at all."""
    present = {record.name for record in here}
    used = {record.subset for record in here}
    config = dataset.config.splits
    for record in dataset.records:
        if record.name not in present:
            path = next(path for path in dataset.files(record) if not path.is_file())
            fatal = record.subset in (config.train, config.test) and record.subset not in used
            yield Problem("not here", path, f"video {record.name!r}", f"annotated in {record.subset!r}, and {path.name} is not here", fatal)


def _not_listed(dataset: Dataset, blocked: Sequence[str]) -> Iterator[Problem]:
    """Files that no annotated video has. Only the folder itself is looked at, not those in it."""
    suffix, prefix = dataset.config.suffix, dataset.config.prefix
    known = {f"{prefix}{name}{suffix}" for name in [*blocked, *(record.name for record in dataset.records)]}
    for folder in dataset.folders:
        for path in sorted(folder.iterdir()):
            if path.name.endswith(suffix) and path.is_file() and path.name not in known:
                yield Problem("not listed", path, f"file {path.name}", "no annotated video has this name")


def _open_all(dataset: Dataset, records: list[VideoRecord], reporter: Reporter) -> tuple[list[Problem], dict[str, float]]:
    source, problems, durations = open_source(dataset, SamplingConfig(**dataset.config.sampling)), [], {}
    with reporter.track(f"open {dataset.config.kind}", len(records)) as advance:
        for record in records:
            video = dataset.video(record)
            try:
                if isinstance(source, VideoSource):
                    problems += damage(source.frames.index(video.path), f"video {record.name!r}")
                durations[record.name] = _duration(video, source)
                problems += _length(dataset, record, video, durations[record.name], source)
            except UserError as error:
                problems.append(Problem("unreadable", video.path, f"video {record.name!r}", error.what, fatal=True))
            advance(1, record.name)
    return problems, durations


def _duration(video: Video, source: Source) -> float:
    """Seconds, by the file alone."""
    known = source.timeline(video)
    return source.timeline(replace(video, duration=None, frames=None, fps=known.fps)).duration


def _length(dataset: Dataset, record: VideoRecord, video: Video, seconds: float, source: Source) -> Iterator[Problem]:
    if record.duration is None or (dataset.config.kind == "features" and dataset.config.mode == "resize"):
        # Features that are stretched to one length may have been extracted at any rate.
        return
    allowed = max(SECONDS, CELLS * dataset.config.snippet_stride / source.timeline(video).fps, SHARE * record.duration)
    if abs(seconds - record.duration) > allowed:
        yield Problem("other length", video.path, f"video {record.name!r}",
                      f"the {dataset.config.kind} are {seconds:.2f} s long, and the annotations say {record.duration:g} s")
