"""``sfc classify``: what trimmed video files show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.errors import UserError
from tadshrink.recognition.config import ONE_PASS
from tadshrink.recognition.evaluation import predict
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.recognisers import open_model, views_of

#: For recognisers without a module.
PLAIN_VIEWS = "10x1"


@dataclass(frozen=True)
class Classified:
    """The best guesses for each file as (label, probability), best first, and the files that could not be read with the reason."""

    views: str
    guesses: dict[str, list[tuple[str, float]]]
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"views": self.views, "failed": self.failed,
                "results": {path: [{"label": label, "probability": value} for label, value in found] for path, found in self.guesses.items()}}


def classify(checkpoint: Path | ModelFile, videos: Sequence[Path], views: str | None = None, top: int = 5, batch_size: int = 16,
             device: str | None = None, reporter: Reporter = SILENT) -> Classified:
    """Name the action in each video file. A broken file does not stop the others.

    Args:
        views: as for ``sfc eval``. Default: one pass with the module or, without one, 10x1.
        top: guesses per video.

    Raises:
        UserError: the checkpoint cannot be read, or ``views`` are unknown.
    """
    opened = open_model(checkpoint, device, reporter)
    recogniser = opened.recogniser
    if views is None:
        views = ONE_PASS if recogniser.sfc is not None else PLAIN_VIEWS
        reporter.note(f"views: {views}, as the recogniser has {'a' if views == ONE_PASS else 'no'} compressing module")
    wanted = views_of(views, recogniser, opened.path)
    found, failed = dict[str, list[tuple[str, float]]](), dict[str, str]()
    with reporter.track("classify", len(videos)) as advance:
        for path in videos:
            try:
                record = TrimmedVideo(str(path), path, "")
                row = predict(recogniser, [record], opened.source_once(reporter), wanted, opened.compute, batch_size)[0]
                best = row.argsort(descending=True, stable=True)[:top].tolist()
                found[str(path)] = [(recogniser.config.classes[number], float(row[number])) for number in best]
            except UserError as error:
                failed[str(path)] = str(error)
            advance(1, path.name)
    return Classified(views, found, failed)
