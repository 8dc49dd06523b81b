from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadshrink.data import video_index as module
from tadshrink.data.video_index import VideoIndex, index_video
from tadshrink.errors import UserError
from tests.data.broken import cut, longer_mkv, longer_mp4, other_count_avi, write_table_first

Clips = Callable[..., Path]

RATES = [24, 25, Fraction(30000, 1001), 30, 60]
#: Container, codec, and by how many seconds it rounds times.
FORMATS = [("a.mp4", "libx264", 0), ("a.mov", "mpeg4", 0), ("a.mkv", "libx264", 5e-4), ("a.avi", "mpeg4", 0), ("a.avi", "libx264", 0),
           ("a.ts", "libx264", 1e-5), ("a.flv", "libx264", 1e-3)]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("name", "codec", "rounding"), FORMATS)
def test_a_constant_frame_rate(clips: Clips, name: str, codec: str, rounding: float, fps: int | Fraction) -> None:
    index = index_video(clips(name, codec=codec, fps=fps))
    assert index.frames == 48
    # FLV's header has no exact rate.
    assert index.fps == pytest.approx(float(fps), rel=5e-3 if name == "a.flv" else 1e-12)
    assert index.duration == pytest.approx(48 / fps, abs=1e-12 if name != "a.flv" else 2e-2)
    np.testing.assert_allclose(index.times, np.arange(48) / float(fps), rtol=0, atol=rounding + 1e-9)
    assert index.declared is None
    assert index.keys[0] == 0


def test_key_frames(clips: Clips) -> None:
    assert index_video(clips("a.mp4")).keys.tolist() == [0, 12, 24, 36]
    assert index_video(clips("a.ts")).keys.tolist() == [0, 12, 24, 36]
    # Numbers of frames in AVI are only known by counting from the beginning.
    assert index_video(clips("a.avi")).keys.tolist() == [0]


#: In ticks of 1/90 s.
UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 7, 48)).tolist()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_variable_frame_rate(clips: Clips, name: str) -> None:
    index = index_video(clips(name, fps=90, ticks=UNEVEN))
    np.testing.assert_allclose(index.times, (np.array(UNEVEN) - UNEVEN[0]) / 90, rtol=0, atol=1e-3)
    assert index.frames == 48
    assert index.duration == pytest.approx((UNEVEN[-1] - UNEVEN[0]) / 90, abs=0.1)
    assert index.fps == index.frames / index.duration


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_late_start(clips: Clips, name: str) -> None:
    index = index_video(clips(name, ticks=range(100, 148)))
    assert (index.frames, index.fps, index.declared) == (48, 25.0, None)
    np.testing.assert_allclose(index.times, np.arange(48) / 25, rtol=0, atol=1e-9)
    assert index.keys.tolist() == [0, 12, 24, 36]


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_header_with_a_wrong_duration(clips: Clips, tmp_path: Path, factor: float) -> None:
    mp4, mkv = longer_mp4(clips("a.mp4"), tmp_path / "a.mp4", factor), longer_mkv(clips("a.mkv"), tmp_path / "a.mkv", factor)
    for path in (mp4, mkv):
        with av.open(str(path)) as container:
            # FFmpeg does not believe an mp4 that says more than it holds.
            assert container.duration / 1e6 == pytest.approx(1.92 * (factor if path == mkv else min(factor, 1)), abs=0.02)
        index = index_video(path)
        assert (index.frames, index.fps) == (48, 25.0)
        np.testing.assert_allclose(index.times, np.arange(48) / 25, rtol=0, atol=1e-9)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize(("factor", "declared"), [(0.5, None), (3.0, 5.76)])
def test_a_header_with_a_wrong_count(clips: Clips, tmp_path: Path, codec: str, factor: float, declared: float | None) -> None:
    path = other_count_avi(clips("a.avi", codec=codec), tmp_path / "a.avi", factor)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 48 * factor
    index = index_video(path)
    assert (index.frames, index.fps, index.declared) == (48, 25.0, declared)


def test_a_header_without_count_and_duration(clips: Clips) -> None:
    path = clips("a.webm", codec="libvpx-vp9", options={"g": "12", "crf": "10", "b": "0"})
    with av.open(str(path)) as container:
        assert (container.streams.video[0].frames, container.streams.video[0].duration) == (0, None)
    assert (index_video(path).frames, index_video(path).fps) == (48, 25.0)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_file_that_was_cut_off(clips: Clips, tmp_path: Path, name: str) -> None:
    whole = write_table_first(tmp_path / "whole.mp4") if name == "a.mp4" else clips(name)
    index = index_video(cut(whole, tmp_path / name, 0.6))
    assert 4 < index.frames < 40
    assert index.declared == pytest.approx(1.92)
    assert index.duration < 1.6


def test_a_header_with_a_wrong_rate() -> None:
    ticks = np.arange(48) * 40
    assert module._rate(ticks, 1e-3, [50.0, 12.5], {1880: 40}) == pytest.approx(25)
    assert module._rate(ticks, 1e-3, [50.0, 25.0001], {1880: 40}) == 25.0001
    # Without the length of the last frame it is as long as the others.
    assert module._rate(ticks, 1e-3, [], {1880: 0}) == pytest.approx(25)


def test_a_few_frames_less_than_promised_are_no_cut(clips: Clips) -> None:
    path = clips("a.mp4")
    with av.open(str(path)) as container:
        promised = float(container.streams.video[0].duration * container.streams.video[0].time_base)
    assert not module._cut(promised, promised - 0.2)
    assert module._cut(promised, promised - 0.3)
    # A share of long videos.
    assert not module._cut(1000.0, 960.0)
    assert module._cut(1000.0, 940.0)


def test_pictures_that_are_never_shown_do_not_count(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.HIDDEN, "h264", lambda packet: packet.pts == 512)
    index = index_video(clips("a.mp4"))
    assert index.frames == 47
    assert 0.04 not in index.times.round(3)


def test_times_that_start_anew_are_not_believed(clips: Clips, tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    with av.open(str(clips("a.ts", ticks=range(100, 148)))) as container:
        assert container.streams.video[0].start_time > 0
    path.write_bytes(clips("a.ts", ticks=range(100, 148)).read_bytes() + clips("a.ts").read_bytes())
    index = index_video(path)
    assert index.ticks is None
    assert (index.frames, index.fps) == (96, 25.0)


def test_frames_of_one_time_count_once() -> None:
    packets = [module._Packet(pts, None, 1, pts == 0, True) for pts in (0, 2, 1, 1, 3)]
    assert module._ticks(packets, 0.04).tolist() == [0, 1, 2, 3]
    assert module._ticks([*packets, module._Packet(None, None, 1, False, True)], 0.04) is None


def make(times: list[float], keys: tuple[int, ...] = (0,)) -> VideoIndex:
    ticks = np.array([round(1000 * time) for time in times], dtype=np.int64)
    return VideoIndex(Path("a"), 1.0, np.array(times), ticks, np.array(keys), None)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30, unique=True), st.lists(st.floats(-1, 12), min_size=1, max_size=20))
def test_the_nearest_frame_is_the_nearest(ticks: list[int], moments: list[float]) -> None:
    times = [tick / 1000 for tick in sorted(ticks)]
    found = make(times).nearest(np.array(moments))
    for moment, number in zip(moments, found.tolist(), strict=True):
        assert abs(times[number] - moment) <= min(abs(time - moment) for time in times) + 1e-9


def test_between_two_frames_the_later_one_counts() -> None:
    assert make([0.0, 0.1, 0.5, 0.6]).nearest(np.array([0.0, 0.04, 0.05, 0.29, 0.3, 0.31, 9.0])).tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_numbers_of_ticks() -> None:
    index = make([0.0, 0.1, 0.5])
    assert [index.number(tick) for tick in (-5, 0, 40, 60, 100, 290, 310, 500, 9000)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_where_to_start() -> None:
    index = make([float(number) for number in range(30)], keys=(0, 10, 20))
    assert [index.starts(first) for first in (0, 9, 10, 19, 25)] == [[0], [0], [10, 0], [10, 0], [20, 10, 0]]


def test_a_file_without_frames(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "packets", lambda container, stream: iter(()))
    with pytest.raises(UserError, match=r"a\.mp4: the video has no frames, or no frame rate"):
        index_video(clips("a.mp4"))
