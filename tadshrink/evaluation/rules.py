"""The rules by which detections are matched to annotated segments and counted: what differs between the evaluators in use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tadshrink.errors import UserError

#: Shortest annotation counted where only those without any length are left out.
ANY_LENGTH = math.ulp(0.0)


@dataclass(frozen=True)
class Rule:
    """One evaluator.

    Attributes:
        summary: one line for users.
        strict: the tIoU must exceed the threshold, not only reach it.
        segments_choose: each annotated segment in turn takes its best free detection; else each detection, best score first, takes
            its best free segment.
        later_first: of equal scores, the later detection of the file comes first; else the earlier one, videos in the order of the
            annotations.
        interpolated: precision is made non-increasing first (PASCAL VOC 2010); else AP is the mean of the precision at each hit.
        ambiguous: detections without a segment that touch an ambiguous region do not count.
        duplicate_tolerance: annotations of one class this close (seconds) at both ends count once; ``None``: each counts.
        shortest: shorter annotations (seconds) do not count.
        min_union: least union of two segments (seconds). Without one (-inf), two segments without length match wherever they are (0/0).
        ranks_ids: annotated classes are renumbered, detections of other classes are not and may hit a renumbered one.
    """

    name: str
    summary: str
    strict: bool = False
    segments_choose: bool = False
    later_first: bool = True
    interpolated: bool = True
    ambiguous: bool = False
    duplicate_tolerance: float | None = 1e-3
    shortest: float = ANY_LENGTH
    min_union: float = 1e-8
    ranks_ids: bool = False


#: The default: what OpenTAD and Progressive Block Drop report.
ACTIVITYNET = Rule("activitynet", "ActivityNet's rule with bad annotations left out (OpenTAD, Progressive Block Drop)")

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        ACTIVITYNET,
        Rule("thumos14", "the organisers' rule of THUMOS-14: ambiguous regions, strict overlap, no interpolation", strict=True,
             segments_choose=True, later_first=False, interpolated=False, ambiguous=True, duplicate_tolerance=None, shortest=0.0),
        Rule("activitynet-official", "the organisers' program of ActivityNet, which counts every annotation", duplicate_tolerance=None,
             shortest=0.0, min_union=-math.inf),
        Rule("actionformer", "ActionFormer's program, with its mix-up of classes that are detected but not annotated", shortest=1e-3,
             min_union=-math.inf, ranks_ids=True),
    )
}


def find_rule(name: str) -> Rule:
    """The rule of this name.

    Raises:
        UserError: there is none; the names are listed.
    """
    if name not in RULES:
        raise UserError(f"unknown rule {name!r}", fix=f"Rules: {', '.join(RULES)}")
    return RULES[name]
