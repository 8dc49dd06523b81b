"""How much video goes through a detector in a second."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tadshrink.errors import UserError
from tadshrink.models.config import SamplingConfig

#: Frames per second of a video of which nothing is known.
USUAL = 30.0


@dataclass(frozen=True)
class Throughput:
    """Derived from the time of a batch of windows.

    Attributes:
        frames_per_second: frames that the backbone sees (features: their number).
        video_seconds: that a window lasts, at ``fps`` frames of the video per second; None where a window is as long as its video.
        real_time_factor: seconds of video per second; windows do not overlap in it.
        fps_assumed: nobody said how many.
    """

    frames_per_second: float
    video_seconds: float | None
    real_time_factor: float | None
    fps: float
    fps_assumed: bool

    @classmethod
    def of(cls, milliseconds: float, sampling: SamplingConfig, batch: int = 1, fps: float | None = None) -> Throughput:
        """Of windows that take so long together.

        Raises:
            UserError: ``fps`` is not positive.
        """
        check_fps(fps)
        known = sampling.fps if fps is None else fps
        rate = USUAL if known is None else known
        lasts = None if sampling.mode == "resize" else sampling.window * sampling.snippet_stride / rate
        each = batch * 1000 / milliseconds
        return cls(sampling.frames * each, lasts, None if lasts is None else lasts * each, rate, known is None)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def check_fps(fps: float | None) -> None:
    """Raise a :class:`UserError` unless it is a frame rate, or none was given."""
    if fps is not None and not 0 < fps < float("inf"):
        raise UserError(f"{fps} frames per second are no frame rate", fix="Choose a positive number, such as 30")
