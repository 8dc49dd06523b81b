"""The evaluation rules written as plain loops, one number after the other, to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: video -> [(start, end, label)], and the same with a score.
Truth = Mapping[str, Sequence[tuple[float, float, str]]]
Found = Mapping[str, Sequence[tuple[float, float, str, float]]]
Regions = Mapping[str, Sequence[tuple[float, float]]]


def tiou(a: Sequence[float], b: Sequence[float]) -> float:
    shared = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / max((a[1] - a[0]) + (b[1] - b[0]) - shared, 1e-8)


def activitynet_hits(truth: Truth, found: Found, label: str, threshold: float, regions: Regions) -> tuple[list[bool], int]:
    """Of each detection of a class, best first, whether it is right; and the number of segments."""
    positives: dict[str, list[tuple[float, float]]] = {video: [] for video in truth}
    for video, actions in truth.items():
        for start, end, name in actions:
            near = any(abs(start - a) <= 1e-3 and abs(end - b) <= 1e-3 for a, b in positives[video])
            if name == label and end > start and not near:
                positives[video].append((start, end))
    ranked = [(row, video) for video, rows in found.items() for row in rows if row[2] == label][::-1]
    ranked.sort(key=lambda pair: -pair[0][3])
    taken, hits = set(), []
    for row, video in ranked:
        choices = [(tiou(row, segment), place) for place, segment in enumerate(positives.get(video, [])) if (video, place) not in taken]
        choices = [choice for choice in choices if choice[0] >= threshold]
        if choices:
            taken.add((video, max(choices)[1]))
        hits.append(bool(choices))
    return hits, sum(map(len, positives.values()))


def thumos14_hits(truth: Truth, found: Found, label: str, threshold: float, regions: Regions) -> tuple[list[bool], int]:
    """The same by the organisers' rule; detections that touch ambiguous regions are left out."""
    counted, total = [], 0
    for video in dict.fromkeys([*truth, *found]):
        rows = sorted((row for row in found.get(video, []) if row[2] == label), key=lambda row: -row[3])
        segments = [action for action in truth.get(video, []) if action[2] == label]
        total += len(segments)
        right = [False] * len(rows)
        for segment in segments:
            best, most = None, threshold
            for place, row in enumerate(rows):
                if not right[place] and tiou(row, segment) > most:
                    best, most = place, tiou(row, segment)
            if best is not None:
                right[best] = True
        for row, hit in zip(rows, right, strict=True):
            if hit or sum(tiou(row, region) for region in regions.get(video, [])) == 0:
                counted.append((row[3], hit))
    counted.sort(key=lambda item: -item[0])
    return [hit for _, hit in counted], total


def interpolated_ap(hits: Sequence[bool], positives: int) -> float:
    points = [(sum(hits[: place + 1]), sum(hits[: place + 1]) / (place + 1)) for place in range(len(hits))]
    return sum(max((precision for count, precision in points if count >= wanted), default=0) for wanted in range(1, positives + 1)) / positives


def plain_ap(hits: Sequence[bool], positives: int) -> float:
    return sum(sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit) / positives


RULES = {"activitynet": (activitynet_hits, interpolated_ap), "thumos14": (thumos14_hits, plain_ap)}


def plain_map(rule: str, truth: Truth, found: Found, classes: Sequence[str], thresholds: Sequence[float],
              regions: Regions | None = None) -> dict[tuple[str, float], float]:
    """AP in percent, by class and threshold."""
    hits_of, ap = RULES[rule]
    table = {}
    for label in classes:
        for threshold in thresholds:
            hits, positives = hits_of(truth, found, label, threshold, regions or {})
            if positives:
                table[label, threshold] = 100 * ap(hits, positives)
    return table
