from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tadshrink.data import video
from tadshrink.data.video import FrameStore, VideoInfo, fit, probe, read_frames, read_indices
from tadshrink.errors import UserError

Clips = Callable[..., Path]
Numbers = Callable[[Tensor], list[int]]

RATES = [24, 30, Fraction(30000, 1001)]
FORMATS = [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.avi", "libx264"), ("a.ts", "libx264"),
           ("a.flv", "libx264")]
GOLDEN = np.load(Path(__file__).parent / "golden" / "resize.npz")


@pytest.mark.parametrize("fps", RATES)
def test_probe(clips: Clips, fps: int | Fraction) -> None:
    info = probe(clips("a.mp4", fps=fps))
    assert info == VideoInfo(48, float(fps))
    assert info.duration == pytest.approx(48 / fps)


def test_probe_where_the_container_does_not_count_frames(clips: Clips) -> None:
    assert probe(clips("a.mkv")) == VideoInfo(48, 25.0)


@pytest.mark.parametrize("fps", RATES)
def test_frames_come_in_the_order_of_showing(clips: Clips, numbers: Numbers, fps: int | Fraction) -> None:
    path = clips("a.mp4", fps=fps)
    frames = read_frames(path, probe(path), 0, 48, 64)
    assert frames.shape == (48, 3, 64, 64)
    assert frames.dtype == torch.uint8
    assert numbers(frames) == list(range(48))


@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_any_part_equals_that_part_of_the_whole(clips: Clips, numbers: Numbers, name: str, codec: str) -> None:
    path = clips(name, codec=codec, fps=Fraction(30000, 1001))
    info = VideoInfo(48, 30000 / 1001)
    whole = read_frames(path, info, 0, 48, 16)
    assert numbers(whole) == list(range(48))
    for first in (1, 5, 11, 12, 13, 24, 35, 46):
        assert torch.equal(read_frames(path, info, first, 2, 16), whole[first:first + 2]), first


def test_sparse_and_repeated_indices(clips: Clips) -> None:
    path, indices = clips("a.mp4"), np.array([3, 3, 8, 20, 21, 40, 40, 40])
    whole = read_frames(path, probe(path), 0, 48, 64)
    assert torch.equal(read_indices(path, probe(path), indices, 64), whole[indices])


def test_only_wanted_frames_are_converted(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    monkeypatch.setattr(video, "fit", lambda image, size: converted.append(size) or torch.zeros(3, size, size, dtype=torch.uint8))
    read_indices(clips("a.mp4"), VideoInfo(48, 25.0), np.array([4, 8, 8, 12]), 32)
    assert len(converted) == 3


def test_after_the_end_the_last_frame_repeats(clips: Clips, numbers: Numbers) -> None:
    path = clips("a.mp4")
    assert numbers(read_frames(path, probe(path), 45, 6, 64)) == [45, 46, 47, 47, 47, 47]
    assert numbers(read_frames(path, probe(path), 500, 2, 64)) == [47, 47]


def test_uneven_times_give_the_frame_nearest_in_time(clips: Clips, numbers: Numbers) -> None:
    # Shown at 0, 0.1, 0.5 and 0.6 s; 0.3 s lies in the middle, where the later one counts.
    path = clips("a.mp4", frames=4, fps=10, ticks=(0, 1, 5, 6))
    assert numbers(read_frames(path, VideoInfo(8, 10.0), 0, 8, 64)) == [0, 1, 1, 2, 2, 2, 3, 3]
    assert numbers(read_frames(path, VideoInfo(8, 10.0), 2, 3, 64)) == [1, 2, 2]


def test_larger_frames_decoded_by_several_threads(clips: Clips, numbers: Numbers) -> None:
    path = clips("a.mp4", size=(320, 240))
    frames = read_frames(path, probe(path), 0, 48, 32)
    assert frames.shape == (48, 3, 32, 32)
    assert numbers(frames) == list(range(48))
    assert torch.equal(read_frames(path, probe(path), 30, 5, 32), frames[30:35])


def test_fit_by_hand() -> None:
    wide = torch.arange(8, dtype=torch.uint8).view(1, 2, 4).repeat(3, 1, 1)
    assert fit(wide, 2)[0].tolist() == [[1, 2], [5, 6]]
    assert fit(wide.mT, 2)[0].tolist() == [[1, 5], [2, 6]]
    # Doubled: samples at -0.25, 0.25, 0.75 and 1.25 of [[0, 10], [20, 30]].
    small = torch.tensor([[0, 10], [20, 30]], dtype=torch.uint8).repeat(3, 1, 1)
    assert fit(small, 4)[1].tolist() == [[0, 2, 8, 10], [5, 8, 12, 15], [15, 18, 22, 25], [20, 22, 28, 30]]
    assert fit(small, 2) is small


@pytest.mark.parametrize(("name", "step"), [("90x121", 4), ("161x213", 8)])
def test_fit_golden(name: str, step: int) -> None:
    """OpenCV rounds in fixed point, so single levels differ."""
    ours = fit(torch.from_numpy(GOLDEN[f"in_{name}"]).permute(2, 0, 1), 160)[:, ::step]
    difference = np.abs(ours.numpy().astype(int) - GOLDEN[f"out_{name}"])
    assert difference.max() <= 1
    assert difference.mean() < 0.2


def test_store_gives_the_same_frames_kept_or_not(clips: Clips) -> None:
    path, indices = clips("a.mp4"), np.array([0, 7, 7, 15, 47, 90])
    kept, passing = FrameStore(32), FrameStore(32, max_bytes=0)
    assert torch.equal(kept.frames(path, indices), passing.frames(path, indices))
    assert torch.equal(kept.frames(path, indices), passing.frames(path, indices))
    assert kept.info(path) == passing.info(path) == VideoInfo(48, 25.0)


def test_store_stays_below_its_limit_and_drops_the_oldest(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [clips(f"{name}.mp4") for name in "abcdef"]
    decoded = []
    monkeypatch.setattr(video, "read_frames", lambda path, *rest: decoded.append(path.stem) or read_frames(path, *rest))
    one = 48 * 3 * 16 * 16
    store = FrameStore(16, max_bytes=4 * one)
    for name in "abcdabe":
        store.frames(paths["abcdef".index(name)], np.array([0]))
        held = sum(frames.numel() for frames in store._videos.values())
        assert held == store._bytes
        assert held <= store.max_bytes
    assert decoded == list("abcde")
    assert [path.stem for path in store._videos] == list("dabe")


def test_store_does_not_keep_what_fills_a_quarter_of_it(clips: Clips) -> None:
    store = FrameStore(16, max_bytes=4 * 48 * 3 * 16 * 16 - 1)
    store.frames(clips("a.mp4"), np.array([0, 1]))
    assert not store._videos


def test_store_reports_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no")
    with pytest.raises(UserError, match=r"a\.mp4: not a readable video"):
        FrameStore(16).info(tmp_path / "a.mp4")
