"""One scene filmed at different frame rates: the detections are in seconds, and do not depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import tadshrink
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.data.synthetic import FPS, make_synthetic
from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import index_video
from tadshrink.evaluation.detections import Detections
from tadshrink.stages.detect import detect

BASELINE = Path(tadshrink.__file__).parent / "assets" / "synthetic-nano.pth"
#: Seconds of one grid cell of the baseline.
STRIDE = 2 / FPS
#: Ticks per second of the video with a variable rate.
CLOCK = 600
RATES = {"24": Fraction(24), "25": Fraction(25), "29.97": Fraction(30000, 1001), "30": Fraction(30), "60": Fraction(60)}


def film(path: Path, scene: np.ndarray, times: Sequence[int], clock: Fraction) -> None:
    """A video whose frames are shown at ``times / clock`` seconds; the scene [frames, H, W, 3] changes between its own frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=clock, options={"crf": "4", "threads": "1", "g": "48"})
        stream.width, stream.height, stream.pix_fmt = scene.shape[2], scene.shape[1], "yuv420p"
        for tick in times:
            number = min(round(float(tick / clock * FPS)), len(scene) - 1)
            frame = av.VideoFrame.from_ndarray(scene[number], format="rgb24")
            frame.pts, frame.time_base = int(tick), 1 / clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Detections]:
    """A synthetic video, and what the baseline finds in it."""
    folder = tmp_path_factory.mktemp("scene")
    make_synthetic(folder, seed=11, videos=10)
    path = folder / "videos" / "testing_0000.mp4"
    frames = FrameStore(32).frames(path, np.arange(index_video(path).frames)).permute(0, 2, 3, 1).contiguous().numpy()
    return frames, _found(path)


def _found(path: Path, **settings: float) -> Detections:
    return detect(BASELINE, [path], score_threshold=0.3, device="cpu", **settings).detections[path.stem]


def _near(one: Detections, other: Detections) -> np.ndarray:
    """Which of one have a partner in the other: the same label, both ends within a stride."""
    same = one.labels[:, None] == other.labels
    return (same & (np.abs(one.segments[:, None] - other.segments).max(-1) <= STRIDE)).any(1)


@pytest.mark.parametrize("rate", [*RATES, "variable"])
def test_the_same_segments_within_a_stride_at_every_rate(scene, tmp_path: Path, rate: str) -> None:
    frames, expected = scene
    seconds = len(frames) / FPS
    if rate == "variable":
        gaps = np.random.default_rng(0).integers(CLOCK // 60, CLOCK // 15, int(60 * seconds))
        times, clock = np.cumsum(gaps) - gaps[0], Fraction(CLOCK)
        times = times[times < seconds * CLOCK]
    else:
        clock = RATES[rate]
        times = np.arange(int(seconds * clock))
    film(tmp_path / "a.mp4", frames, times, clock)
    found = _found(tmp_path / "a.mp4", fps=FPS)
    assert len(expected) >= 4
    clear = expected.scores > 0.35
    assert clear.sum() >= 4
    assert _near(expected, found)[clear].all()
    assert _near(found, expected)[found.scores > 0.35].all()


def test_in_its_own_frames_a_faster_video_looks_slower(scene, tmp_path: Path) -> None:
    frames, expected = scene
    film(tmp_path / "a.mp4", frames, np.arange(len(frames) * 3), Fraction(24))
    assert not _near(expected, _found(tmp_path / "a.mp4")).all()


def test_a_model_that_knows_its_rate_needs_no_option(scene, tmp_path: Path) -> None:
    frames, expected = scene
    film(tmp_path / "a.mp4", frames, np.arange(len(frames) * 3), Fraction(24))
    known = load_checkpoint(BASELINE)
    known = replace(known, architecture=known.architecture | {"sampling": known.architecture["sampling"] | {"fps": FPS}})
    save_checkpoint(tmp_path / "known.pth", known)
    found = detect(tmp_path / "known.pth", [tmp_path / "a.mp4"], score_threshold=0.3, device="cpu").detections["a"]
    assert _near(expected, found)[expected.scores > 0.35].all()
