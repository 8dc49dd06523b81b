"""Scores of a video-level classifier, which name the proposals of a class-agnostic detector (ActivityNet, HACS)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.files import read_json
from tadshrink.models.config import PostprocessConfig

Floats = NDArray[Any]

#: Some files name ActivityNet's videos with this prefix, others without.
PREFIX = "v_"


@dataclass(frozen=True)
class Fusion:
    """How the scores of a proposal and of a class of its video become one.

    Attributes:
        prepare: all class scores of the video [C] -> what is used of them.
        combine: proposal scores [N], class score -> scores [N].
    """

    prepare: Callable[[Floats], Floats]
    combine: Callable[[Floats, Floats], Floats]


def _softmax_twice(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max())
    return 2 * powers / powers.sum()


#: ``PostprocessConfig.fusion``: "product" is used with CUHK's scores, "sqrt" is the geometric mean, "normalised" (TCANet's
#: classifier on HACS) takes the scores as logits: the product with twice their softmax over all classes.
FUSIONS: dict[str, Fusion] = {
    "product": Fusion(lambda scores: scores, lambda proposals, score: proposals * score),
    "sqrt": Fusion(lambda scores: scores, lambda proposals, score: np.sqrt(proposals * score)),
    "normalised": Fusion(_softmax_twice, lambda proposals, score: proposals * score),
}


@dataclass(frozen=True)
class VideoScores:
    """Class scores of whole videos.

    Attributes:
        classes: label names in the order of the scores.
        scores: video -> float64 [C].
        where: named in errors, usually the path of the file.
    """

    classes: tuple[str, ...]
    scores: Mapping[str, NDArray[np.float64]]
    where: object = None

    def of(self, video: str) -> NDArray[np.float64]:
        """Scores [C] of a video, whose name may have or lack the prefix ``v_``.

        Raises:
            UserError: there are none.
        """
        names = (video, PREFIX + video, video.removeprefix(PREFIX))
        found = next((self.scores[name] for name in names if name in self.scores), None)
        if found is None:
            raise UserError(f"no class scores for video {video!r}", where=self.where, fix="Add them, or leave out the video")
        return found

    def require(self, videos: Iterable[str]) -> None:
        """Find out before hours of work that a video has no scores; raises what :meth:`of` does."""
        for video in videos:
            self.of(video)

    def fuse(self, proposals: Detections, video: str, config: PostprocessConfig) -> Detections:
        """Each proposal once for each of the video's best ``config.fusion_top_k`` classes.

        Returns:
            All proposals in their order for the best class, then for the second best and so on (of equals the first).

        Raises:
            UserError: the video has no scores, or negative ones with a fusion that needs probabilities.
        """
        fusion = FUSIONS[config.fusion]
        scores = fusion.prepare(self.of(video))
        if (scores < 0).any():
            raise UserError(f"video {video!r}: negative class scores", where=self.where,
                            fix="Give probabilities, or use the fusion 'normalised', which takes logits")
        best = np.argsort(-scores, kind="stable")[: config.fusion_top_k]
        combined = [proposals.scores[:0]] + [fusion.combine(proposals.scores, np.float32(score)) for score in scores[best]]
        return Detections(np.tile(proposals.segments, (len(best), 1)), np.concatenate(combined), np.repeat(best, len(proposals)))


def read_video_scores(path: str | Path) -> VideoScores:
    """Read ``{"class": [names], "results": {video: [scores]}}`` (CUHK; a list of scores may be wrapped in another).

    Raises:
        UserError: the file cannot be read, or is not this layout: names the video and what is wrong with it.
    """
    data = read_json(path)
    classes, results = (data.get(key) for key in ("class", "results")) if isinstance(data, dict) else (None, None)
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise UserError("no 'class' list of label names", where=path, fix='Give {"class": [names], "results": {video: [scores]}}')
    if repeated := [name for name, count in Counter(classes).items() if count > 1]:
        raise UserError(f"class {repeated[0]!r} is listed more than once", where=path, fix="List every class once")
    if not isinstance(results, dict):
        raise UserError("no 'results' object", where=path, fix='Give {"class": [names], "results": {video: [scores]}}')
    return VideoScores(tuple(classes), {video: _parse(video, row, classes, path) for video, row in results.items()}, path)


def _parse(video: str, row: Any, classes: list[str], where: object) -> NDArray[np.float64]:
    if isinstance(row, list) and len(row) == 1 and isinstance(row[0], list):
        row = row[0]
    if not isinstance(row, list) or len(row) != len(classes):
        length = f"{len(row)} scores" if isinstance(row, list) else type(row).__name__
        raise UserError(f"video {video!r}: {length} instead of a list of {len(classes)}, one per class", where=where,
                        fix="Correct the file, or leave the video out of it")
    for name, value in zip(classes, row, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise UserError(f"video {video!r}: score of {name!r} is {value!r}, not a finite number", where=where,
                            fix="Correct the file")
    return np.array(row, dtype=np.float64)
