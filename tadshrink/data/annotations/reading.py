"""The one entry to annotations of any form, which is recognised by what is in the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tadshrink.data.annotations import activitynet, bmn, epic, thumos
from tadshrink.data.annotations.lists import read_classes
from tadshrink.data.annotations.records import Found, VideoRecord
from tadshrink.data.annotations.source import Source
from tadshrink.data.annotations.video_info import VideoInfo, read_video_info
from tadshrink.errors import UserError
from tadshrink.reporting import SILENT, Reporter

#: How many bad records one message names before it only counts them.
SHOWN = 3

Read = Callable[[Source, Mapping[str, VideoInfo], tuple[str, ...] | None, str, Found], None]


@dataclass(frozen=True)
class Format:
    """One form of annotations.

    Attributes:
        title: what messages call it.
        recognise: whether a file or folder has this form.
        read: puts what is in it into a :class:`Found`, given what is known of the videos, the names of classes that are
            given as numbers, and which label is the class.
        video_info: the CSV of durations and splits that comes with it, beside it.
        classes: the list of classes likewise.
    """

    title: str
    recognise: Callable[[Source], bool]
    read: Read
    video_info: str = ""
    classes: str = ""


#: By the names that ``annotation_format`` in a dataset YAML takes.
FORMATS = {
    "activitynet": Format("ActivityNet JSON", activitynet.recognise, activitynet.read),
    "bmn": Format("BMN's JSON", bmn.recognise, bmn.read, "video_info_new.csv", "action_name.csv"),
    "epic": Format("EPIC-KITCHENS CSV", epic.recognise, epic.read, "EPIC_100_video_info.csv", "EPIC_100_{label}_classes.csv"),
    "thumos": Format("THUMOS text files", thumos.recognise, thumos.read, classes="detclasslist.txt"),
}


@dataclass(frozen=True)
class AnnotationSettings:
    """What to know for reading annotations, as in a :class:`~tadshrink.data.dataset_config.DatasetConfig`.

    Attributes:
        classes: names of classes that are given as numbers, where no list of them lies beside the annotations.
    """

    annotation_format: str = "auto"
    video_info: Path | None = None
    label: str = "verb"
    ambiguous_labels: tuple[str, ...] = ("Ambiguous",)
    classes: tuple[str, ...] | None = None


DEFAULTS = AnnotationSettings()


def read_annotations(path: str | Path, settings: AnnotationSettings = DEFAULTS, reporter: Reporter = SILENT) -> list[VideoRecord]:
    """Read and validate an annotation file or folder, in the order of the file.

    Actions with a label of ``settings.ambiguous_labels`` become ambiguous regions.

    Raises:
        UserError: unreadable, not a known form, or bad records; the first few are named and the rest counted.
    """
    found = find_annotations(path, settings)
    for note in found.notes:
        reporter.note(note)
    require_sound(found)
    return found.records


def require_sound(found: Found, fix: str = "Repair or remove these records") -> None:
    """Raise a :class:`UserError` that names the first bad records, if there are any."""
    fatal = [problem for problem in found.problems if problem.fatal]
    if fatal:
        more = f" (and {len(fatal) - SHOWN} more)" if len(fatal) > SHOWN else ""
        raise UserError("; ".join(map(str, fatal[:SHOWN])) + more, where=found.path, fix=fix)


def find_annotations(path: str | Path, settings: AnnotationSettings = DEFAULTS) -> Found:
    """:func:`read_annotations` that lists bad records instead of stopping at them.

    Raises:
        UserError: unreadable, or not a known form.
    """
    source = Source(Path(path))
    if not source.path.exists():
        raise UserError("no such file", where=path, fix="Check the path")
    form = _format(source, settings)
    found = Found(source.path, form.title)
    found.notes.append(f"annotations: {form.title}" + (" (by their content)" if settings.annotation_format == "auto" else ""))
    info = _video_info(source, form, settings, found)
    found.classes = _classes(source, form, settings.label, found)
    form.read(source, info, found.classes or settings.classes, settings.label, found)
    for name in source.twice:
        found.bad(repr(name), "stands twice in one object, of which a reader sees the last", "listed twice")
    _mark_ambiguous(found, settings.ambiguous_labels)
    _find_shared(found)
    return found


def has_known_form(path: Path) -> bool:
    """Whether a file, or a folder, holds annotations of any form."""
    return _recognised(Source(path)) is not None


def _recognised(source: Source) -> Format | None:
    """The first form that it has."""
    return next((form for form in FORMATS.values() if form.recognise(source)), None)


def _format(source: Source, settings: AnnotationSettings) -> Format:
    if settings.annotation_format != "auto":
        form = FORMATS[settings.annotation_format]
        if not form.recognise(source):
            raise UserError(f"not annotations in the form {form.title!r}", where=source.path, fix="Correct 'annotation_format', or take 'auto'")
        return form
    form = _recognised(source)
    if form is None:
        forms = ", ".join(known.title for known in FORMATS.values())
        what = "in this folder there are no annotations" if source.path.is_dir() else "no 'database' object, and no annotations"
        raise UserError(f"{what} of a form that is known", where=source.path,
                        fix=f"Give an ActivityNet-style annotation file, or another known form ({forms})")
    return form


def _video_info(source: Source, form: Format, settings: AnnotationSettings, found: Found) -> dict[str, VideoInfo]:
    path = settings.video_info
    if path is None and form.video_info and (beside := source.folder / form.video_info).is_file():
        path = beside
        found.notes.append(f"durations and splits of the videos: {path.name}, which lies beside the annotations")
    return {} if path is None else read_video_info(path, found)


def _classes(source: Source, form: Format, label: str, found: Found) -> tuple[str, ...] | None:
    path = source.folder / form.classes.format(label=label)
    if not form.classes or not path.is_file():
        return None
    found.notes.append(f"class names: {path.name}, which lies beside the annotations")
    return read_classes(path)


def _mark_ambiguous(found: Found, labels: tuple[str, ...]) -> None:
    for number, record in enumerate(found.records):
        regions = tuple((action.start, action.end) for action in record.actions if action.label in labels)
        if regions:
            kept = tuple(action for action in record.actions if action.label not in labels)
            found.records[number] = replace(record, actions=kept, ambiguous=record.ambiguous + regions)


def _find_shared(found: Found) -> None:
    """A video in two splits would be trained on and tested with."""
    for name, count in Counter(record.name for record in found.records).items():
        if count > 1:
            subsets = " and ".join(repr(record.subset) for record in found.records if record.name == name)
            found.bad(f"video {name!r}", f"is in the splits {subsets}", "in two splits")
