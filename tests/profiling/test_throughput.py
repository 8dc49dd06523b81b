from __future__ import annotations

import pytest

from tadshrink.errors import UserError
from tadshrink.models.config import SamplingConfig
from tadshrink.profiling.throughput import Throughput

SAMPLING = SamplingConfig(window=100, frames_per_cell=2, snippet_stride=3)


def test_by_hand() -> None:
    # Two windows of 200 frames each in half a second; a window is 300 frames of the video, 10 s of it.
    made = Throughput.of(500, SAMPLING, batch=2)
    assert (made.frames_per_second, made.video_seconds, made.real_time_factor) == pytest.approx((800, 10, 40))
    assert (made.fps, made.fps_assumed) == (30, True)
    assert Throughput.of(500, SAMPLING, batch=2, fps=15).real_time_factor == pytest.approx(80)


def test_the_frame_rate_that_the_model_was_trained_on_is_taken() -> None:
    trained = SAMPLING.model_copy(update={"fps": 15.0})
    made = Throughput.of(500, trained, batch=2)
    assert (made.fps, made.fps_assumed, made.real_time_factor) == (15, False, pytest.approx(80))
    assert Throughput.of(500, trained, batch=2, fps=30).fps == 30


def test_a_window_as_long_as_its_video_has_no_real_time_factor() -> None:
    made = Throughput.of(500, SAMPLING.model_copy(update={"mode": "resize"}))
    assert (made.video_seconds, made.real_time_factor, made.frames_per_second) == (None, None, 400)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_no_frame_rate(fps: float) -> None:
    with pytest.raises(UserError, match="no frame rate"):
        Throughput.of(500, SAMPLING, fps=fps)
