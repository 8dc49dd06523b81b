from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tadshrink.data import frame_stream, video
from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import index_video
from tadshrink.errors import UserError
from tests.data.broken import cut, damaged, longer_mkv, longer_mp4, other_count_avi, write_table_first
from tests.notes import Notes

Clips = Callable[..., Path]
Numbers = Callable[[Tensor], list[int]]

RATES = [24, 25, Fraction(30000, 1001), 30, 60]
FORMATS = [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.avi", "libx264"), ("a.ts", "libx264"),
           ("a.flv", "libx264")]
#: In ticks of 1/90 s: 15 to 90 frames per second.
UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 7, 48))


def read(path: Path, indices: np.ndarray | range, size: int = 64) -> Tensor:
    return FrameStore(size, max_bytes=0).frames(path, np.asarray(indices))


def nearest(times: np.ndarray, indices: np.ndarray, fps: float) -> list[int]:
    """By a plain loop."""
    return [min(range(len(times)), key=lambda number: abs(times[number] - index / fps)) for index in indices.tolist()]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_any_part_equals_that_part_of_the_whole(clips: Clips, numbers: Numbers, name: str, codec: str, fps: int | Fraction) -> None:
    path = clips(name, codec=codec, fps=fps)
    whole = read(path, range(48), 16)
    assert whole.shape == (48, 3, 16, 16)
    assert whole.dtype == torch.uint8
    assert numbers(whole) == list(range(48))
    for first in (1, 5, 11, 12, 13, 24, 35, 46):
        assert torch.equal(read(path, range(first, first + 2), 16), whole[first:first + 2]), first


@pytest.mark.parametrize("first", [0, 7, 20, 40])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_window_of_a_variable_frame_rate(clips: Clips, numbers: Numbers, name: str, first: int) -> None:
    path = clips(name, fps=90, ticks=UNEVEN.tolist())
    indices = np.arange(first, 48, 2)
    expected = nearest((UNEVEN - UNEVEN[0]) / 90, indices, index_video(path).fps)
    # Matroska rounds times to milliseconds, so that the middle between two frames moves.
    differing = sum(ours != theirs for ours, theirs in zip(numbers(read(path, indices)), expected, strict=True))
    assert differing <= (1 if name == "a.mkv" else 0)


@pytest.mark.parametrize("first", [0, 13, 30])
def test_a_window_of_a_file_whose_header_lies(clips: Clips, numbers: Numbers, tmp_path: Path, first: int) -> None:
    for path in (longer_mp4(clips("a.mp4"), tmp_path / "a.mp4", 0.3), longer_mkv(clips("a.mkv"), tmp_path / "a.mkv", 0.3),
                 longer_mkv(clips("a.mkv"), tmp_path / "b.mkv", 3), other_count_avi(clips("a.avi"), tmp_path / "a.avi", 0.5)):
        assert numbers(read(path, range(first, 48, 3))) == list(range(first, 48, 3))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_window_of_a_video_that_starts_late(clips: Clips, numbers: Numbers, name: str) -> None:
    assert numbers(read(clips(name, ticks=range(100, 148)), range(20, 48, 4))) == list(range(20, 48, 4))


@pytest.mark.parametrize(("options", "codec"), [
    ({"crf": "10", "bf": "4", "g": "24", "threads": "1", "x264-params": "b-pyramid=normal:b-adapt=0"}, "libx264"),
    ({"crf": "10", "g": "12", "threads": "1", "x264-params": "open-gop=1:scenecut=0"}, "libx264"),
    ({"crf": "10", "b": "0", "g": "12"}, "libvpx-vp9"),
])
def test_a_window_of_other_encodings(clips: Clips, numbers: Numbers, options: dict[str, str], codec: str) -> None:
    path = clips("a.mkv", codec=codec, options=options)
    for first in range(0, 46, 5):
        assert numbers(read(path, range(first, first + 3))) == list(range(first, first + 3))


def test_sparse_and_repeated_indices(clips: Clips) -> None:
    path, indices = clips("a.mp4"), np.array([3, 3, 8, 20, 21, 40, 40, 40])
    assert torch.equal(read(path, indices), read(path, range(48))[indices])


def test_only_wanted_frames_are_converted(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    monkeypatch.setattr(video, "fit", lambda image, size, crop: converted.append(size) or torch.zeros(3, size, size, dtype=torch.uint8))
    read(clips("a.mp4"), np.array([4, 8, 8, 12]), 32)
    assert len(converted) == 3


def test_indices_are_clipped_to_the_video(clips: Clips, numbers: Numbers) -> None:
    assert numbers(read(clips("a.mp4"), range(45, 51))) == [45, 46, 47, 47, 47, 47]
    assert numbers(read(clips("a.mp4"), np.array([-3, 0, 500]))) == [0, 0, 47]


def test_larger_frames_decoded_by_several_threads(clips: Clips, numbers: Numbers) -> None:
    path = clips("a.mp4", size=(320, 240))
    frames = read(path, range(48), 32)
    assert frames.shape == (48, 3, 32, 32)
    assert numbers(frames) == list(range(48))
    assert torch.equal(read(path, range(30, 35), 32), frames[30:35])


def test_whole_frames(clips: Clips) -> None:
    path = clips("a.mp4", size=(96, 64))
    store = FrameStore(16)
    whole = store.uncropped(20).frames(path, np.arange(3))
    assert whole.shape == (3, 3, 20, 30)
    assert store.frames(path, np.arange(3)).shape == (3, 3, 16, 16)


def test_the_index_is_made_once(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(video, "index_video", lambda path, make=video.index_video: made.append(path) or make(path))
    store = FrameStore(16)
    for one in (store, store.uncropped(20), store):
        one.frames(clips("a.mp4"), np.arange(2))
    assert len(made) == 1


def test_a_store_gives_the_same_frames_kept_or_not(clips: Clips) -> None:
    path, indices = clips("a.mp4"), np.array([0, 7, 7, 15, 47, 90])
    kept, passing = FrameStore(32), FrameStore(32, max_bytes=0)
    for _ in range(2):
        assert torch.equal(kept.frames(path, indices), passing.frames(path, indices))


@pytest.mark.parametrize(("most", "passes"), [(2 << 30, 1), (0, 2)])
def test_overlapping_windows_decode_each_frame_once(clips: Clips, numbers: Numbers, most: int, passes: int) -> None:
    path, store = clips("a.mp4", frames=300), FrameStore(16, max_bytes=most)
    once = 0
    for _ in range(2):
        for first in [*range(0, 240, 20), 236, 236]:
            indices = np.arange(first, first + 64, 4)
            assert numbers(store.frames(path, indices)) == (indices % 48).tolist()
            assert most or store.cache.bytes == 16 * 3 * 16 * 16
        once = once or store.decoded[path]
    assert 296 <= once <= 300
    assert store.decoded[path] == passes * once


def test_the_counter_counts_each_frame_that_the_decoder_gives(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    given: Counter[int] = Counter()

    def spy(index: object, first: int):
        for number, frame in decode(index, first):
            given[number] += 1
            yield number, frame

    decode = frame_stream.decode
    monkeypatch.setattr(frame_stream, "decode", spy)
    path, store = clips("a.mp4", frames=300), FrameStore(16, max_bytes=0)
    for first in range(0, 236, 32):
        store.frames(path, np.arange(first, first + 64))
    assert sum(given.values()) == store.decoded[path]
    assert set(given.values()) == {1}


def test_a_far_window_is_reached_by_a_seek(clips: Clips) -> None:
    path, store = clips("a.mp4", frames=300), FrameStore(16)
    store.frames(path, np.arange(4))
    store.frames(path, np.arange(280, 284))
    assert store.decoded[path] <= 4 + 8 + 12


def test_videos_in_turns(clips: Clips, numbers: Numbers) -> None:
    first, second = clips("a.mp4", frames=300), clips("b.mp4")
    store = FrameStore(16, max_bytes=0)
    for start in (0, 8, 16, 24):
        for path in (first, second):
            assert numbers(store.frames(path, np.arange(start, start + 16))) == list(range(start, start + 16))


def test_what_cannot_be_decoded_is_told_once(tmp_path: Path) -> None:
    path, notes = damaged(write_table_first(tmp_path / "whole.mp4"), tmp_path / "a.mp4", 20), Notes()
    store = FrameStore(16, max_bytes=0, reporter=notes)
    for _ in range(2):
        for half in (np.arange(24), np.arange(24, 48)):
            store.frames(path, half)
    assert store.decoded[path] == 2 * 47
    assert store.damaged == {path: {20}}
    (note,) = notes.lines
    assert note.startswith(f"{path}: 1 of 48 frames cannot be decoded")
    assert "frame 20, at 0.80 s" in note


def test_a_file_that_was_cut_off_is_told_once(tmp_path: Path, numbers: Numbers) -> None:
    path, notes = cut(write_table_first(tmp_path / "whole.mp4"), tmp_path / "a.mp4", 0.6), Notes()
    store = FrameStore(16, reporter=notes)
    for _ in range(2):
        frames = store.frames(path, np.arange(20))
    assert numbers(frames) == list(range(20))
    (note,) = notes.lines
    assert f"{path}: its header says 1.92 s, but its frames end at 1." in note


def test_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no")
    with pytest.raises(UserError, match=r"a\.mp4: not a readable video"):
        FrameStore(16).frames(tmp_path / "a.mp4", np.arange(2))
