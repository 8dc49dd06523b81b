"""``eval --results``: figures of a file of detections, whatever tool wrote it, without a model (and without importing torch)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tadshrink.data.annotations import AnnotationSettings, VideoRecord, read_annotations
from tadshrink.data.annotations.lists import read_classes, read_names
from tadshrink.errors import UserError
from tadshrink.evaluation.mean_ap import TIOU_THRESHOLDS
from tadshrink.evaluation.results import Results, read_results, with_known_names
from tadshrink.evaluation.rules import ACTIVITYNET, Rule
from tadshrink.evaluation.scoring import Score, score
from tadshrink.evaluation.tables import Found, GroundTruth, Regions, number_videos
from tadshrink.reporting import SILENT, Reporter

#: The label of ambiguous regions in files that have no other place for them.
AMBIGUOUS = ("Ambiguous",)
#: Names that a message shows; the rest is counted.
SHOWN = 3
#: What does not count, and odd detections that do, as the reporter tells it.
LEFT_ASIDE = {
    "duplicate_annotations": "annotations repeat another of their class",
    "short_annotations": "annotations are too short (by this rule)",
    "unknown_label": "detections have a label that is annotated nowhere in the file",
    "label_not_in_split": "detections have a label that is not annotated in the split",
    "blocked_videos": "detections are in blocked videos",
    "other_videos": "detections are in videos that are not of the split",
}
COUNTED_ANYWAY = {
    "other_videos": "detections are in videos that are not of the split and count as wrong, as in the reference programs; "
                    "--only-split leaves them out",
    "inverted": "detections end before they start, and count as wrong",
    "repeated": "detections repeat another one in everything",
}


@dataclass(frozen=True)
class Reference:
    """The annotated side.

    Attributes:
        records: videos of the split.
        classes: names in their order.
        where: the file, for messages.
        known: names of all annotated videos.
        ordered: the order of the classes is theirs, so that detections may give their numbers.
    """

    records: list[VideoRecord]
    classes: tuple[str, ...]
    where: Path
    known: frozenset[str]
    ordered: bool = True

    @property
    def actions(self) -> GroundTruth:
        return actions_of(self.records)


def actions_of(records: Iterable[VideoRecord]) -> GroundTruth:
    """The actions of videos as evaluation takes them."""
    return {record.name: [(action.start, action.end, action.label) for action in record.actions] for record in records}


def regions_of(records: Iterable[VideoRecord]) -> Regions:
    """The ambiguous regions of videos."""
    return {record.name: record.ambiguous for record in records}


def score_results(results: Path, annotations: Path, split: str = "testing", rule: Rule = ACTIVITYNET,
                  thresholds: Sequence[float] = TIOU_THRESHOLDS, blocked: Path | None = None, classes: Path | None = None,
                  only_split: bool = False, reporter: Reporter = SILENT) -> Score:
    """Score a file of detections against an annotation file of any known form; both may be compressed (``.json.gz``).

    Args:
        split: as in the annotation file; another case will do if it is the only one.
        blocked: list of videos that are left out.
        classes: list of class names, for detections with numbers in place of names; default: all labels of the file, sorted.
        only_split: leave out detections in other videos than those of the split, in place of counting them as wrong.

    Raises:
        UserError: unreadable input, no such split or nothing annotated in it, or detections that have nothing to do with it.
    """
    settings = AnnotationSettings(ambiguous_labels=AMBIGUOUS if rule.ambiguous else ())
    records = read_annotations(annotations, settings, reporter)
    names = read_classes(classes) if classes else tuple(sorted({action.label for record in records for action in record.actions}))
    out = set(read_names(blocked) if blocked else ())
    chosen = [record for record in choose_split(records, split, annotations, reporter) if record.name not in out]
    if not any(record.actions for record in chosen):
        raise UserError(f"split {split!r} has no annotated action{' that is not blocked' if out else ''}", where=annotations,
                        fix=_present(records))
    reference = Reference(chosen, names, annotations, frozenset(record.name for record in records), classes is not None)
    _note_rule(reference, rule, classes, reporter)
    return score_against(reference, results, rule, thresholds, out, only_split, reporter)


def score_against(reference: Reference, results: Path, rule: Rule, thresholds: Sequence[float], blocked: Iterable[str] = (),
                  only_split: bool = False, reporter: Reporter = SILENT) -> Score:
    """:func:`score_results` with annotations that have been read."""
    read, renamed = with_known_names(read_results(results), reference.known)
    if renamed:
        reporter.note(f"{renamed} videos are called otherwise in {results}: 'v_' was put before their names, or taken off")
    inside = {record.name for record in reference.records}
    aside: dict[str, int] = {}
    read = _without(read, np.isin(read.video, _places(read.videos, blocked)), "blocked_videos", aside)
    other = ~np.isin(read.video, _places(read.videos, inside))
    if len(read) and other.all():
        names = ", ".join(read.videos[:SHOWN])
        raise UserError(f"not one of the {len(read)} detections is in a video of the split", where=results,
                        fix=f"Its videos are {names}, ...; those of the split are {', '.join(sorted(inside)[:SHOWN])}, ...")
    if only_split:
        read = _without(read, other, "other_videos", aside)
    anyway = {"other_videos": 0 if only_split else int(other.sum()), "inverted": int((read.segments[:, 1] < read.segments[:, 0]).sum()),
              "repeated": read.repeated()}
    found = _found(read, reference, results, aside)
    scored = score(reference.actions, regions_of(reference.records), found, reference.classes, thresholds, rule, aside, anyway)
    tell(scored, reporter)
    return scored


def tell(scored: Score, reporter: Reporter) -> None:
    """Notes of all that did not count, and of what counts though it is odd."""
    for counts, texts, end in ((scored.left_aside, LEFT_ASIDE, ": left out"), (scored.counted_anyway, COUNTED_ANYWAY, "")):
        for key, count in counts.items():
            if count:
                reporter.note(f"{count} {texts[key]}{end}")


def choose_split(records: Sequence[VideoRecord], split: str, where: Path, reporter: Reporter = SILENT) -> list[VideoRecord]:
    """The videos of a split: by its exact name, or else by the only name that differs in nothing but case.

    Raises:
        UserError: there is none; the splits present are listed with their actions.
    """
    present = {record.subset for record in records}
    names = [split] if split in present else [name for name in present if name.casefold() == split.casefold()]
    if len(names) != 1:
        raise UserError(f"there is no split {split!r}", where=where, fix=_present(records))
    if names[0] != split:
        reporter.note(f"split {split!r}: taken to be {names[0]!r}, the only one of this name but for case")
    return [record for record in records if record.subset == names[0]]


def _present(records: Iterable[VideoRecord]) -> str:
    videos, actions = Counter[str](), Counter[str]()
    for record in records:
        videos[record.subset] += 1
        actions[record.subset] += len(record.actions)
    splits = ", ".join(f"{name!r} ({count} videos, {actions[name]} actions)" for name, count in sorted(videos.items()))
    return f"Splits in the file: {splits or 'none'}"


def _note_rule(reference: Reference, rule: Rule, classes: Path | None, reporter: Reporter) -> None:
    reporter.note(f"rule {rule.name}: {rule.summary}")
    regions = sum(len(record.ambiguous) for record in reference.records)
    if regions and not rule.ambiguous:
        reporter.note(f"{regions} ambiguous regions mean nothing by this rule")
    labelled = sum(action.label in AMBIGUOUS for record in reference.records for action in record.actions)
    if labelled:
        reporter.note(f"{labelled} actions are labelled 'Ambiguous': by this rule a class like the others, as in the reference program")
    if rule.ranks_ids and classes is None:
        reporter.note("this rule depends on the numbers of the classes: taken to be in alphabetical order; --classes gives another")


def _places(names: Sequence[str], wanted: Iterable[str]) -> list[int]:
    wanted = set(wanted)
    return [number for number, name in enumerate(names) if name in wanted]


def _without(read: Results, out: np.ndarray, key: str, aside: dict[str, int]) -> Results:
    aside[key] = int(out.sum())
    return read.take(~out)


def _found(read: Results, reference: Reference, results: Path, aside: dict[str, int]) -> Found:
    """Detections with numbers of the reference's classes and videos, without those of unknown labels."""
    if not reference.ordered and any(isinstance(label, int) for label in read.labels):
        raise UserError("detections have numbers for labels", where=results, fix="Give the list of class names with --classes")
    index: dict[str | int, int] = {name: number for number, name in enumerate(reference.classes)}
    index |= {number: number for number in range(len(reference.classes))}
    lookup = np.array([index.get(label, -1) for label in read.labels], dtype=np.int64)
    labels = lookup[read.label]
    if len(read) and (labels < 0).all():
        raise UserError(f"not one label of the {len(read)} detections is annotated ({', '.join(map(repr, read.labels[:SHOWN]))}, ...)",
                        where=results, fix=f"Annotated labels: {', '.join(reference.classes[:SHOWN])}, ...")
    present = {action.label for record in reference.records for action in record.actions}
    in_split = np.array([name in present for name in reference.classes])
    aside["unknown_label"] = int((labels < 0).sum())
    aside["label_not_in_split"] = int((~in_split[labels[labels >= 0]]).sum())
    names = number_videos([record.name for record in reference.records], read.videos)
    videos = np.array([names[name] for name in read.videos], dtype=np.int64)[read.video]
    return Found(read.segments, read.scores, labels, videos).take(labels >= 0)
