from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tadshrink.data import frame_stream as module
from tadshrink.data.frame_stream import FrameStream
from tadshrink.data.video_index import VideoIndex, index_video
from tests.data.broken import cut, damaged, write_table_first
from tests.data.conftest import grey

Clips = Callable[..., Path]


@pytest.fixture
def index(clips: Clips) -> VideoIndex:
    return index_video(clips("a.mp4"))


def test_frames_by_number(index: VideoIndex) -> None:
    decoded: Counter[Path] = Counter()
    stream = FrameStream(index, 14, decoded)
    assert [grey(stream.frame(number)) for number in (14, 15, 15, 20, 47)] == [14, 15, 15, 20, 47]
    assert stream.ended
    assert stream.damaged == set()
    assert decoded == {index.path: 36}


def test_what_lies_ahead(index: VideoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FrameStream(index, 14, Counter())
    assert not stream.leads_to(index, 11)
    assert stream.leads_to(index, 14)
    stream.frame(20)
    assert [number for number in range(48) if stream.leads_to(index, number)] == list(range(20, 48))
    assert not stream.leads_to(index_video(index.path), 30)
    # Past a key frame that is far enough away, it pays to start there.
    monkeypatch.setattr(module, "PATIENCE", 10)
    assert [number for number in range(48) if stream.leads_to(index, number)] == list(range(20, 36))


def test_the_nearest_frame_stands_for_a_spoilt_one(tmp_path: Path) -> None:
    spoilt = index_video(damaged(write_table_first(tmp_path / "whole.mp4"), tmp_path / "a.mp4", 20))
    stream = FrameStream(spoilt, 0, Counter())
    before, other, after = (grey(stream.frame(number)) for number in (19, 20, 21))
    assert (before, after) == (19, 21)
    assert other in (19, 21)
    assert stream.damaged == {20}
    stream.close()
    assert grey(FrameStream(spoilt, 20, Counter()).frame(20)) == other


def test_a_spoilt_beginning_and_end(tmp_path: Path) -> None:
    whole = write_table_first(tmp_path / "whole.mp4")
    start = FrameStream(index_video(damaged(whole, tmp_path / "a.mp4", 0)), 0, Counter())
    head = grey(start.frame(0))
    assert 0 < head < 12
    assert start.damaged == set(range(head))
    short = index_video(cut(whole, tmp_path / "b.mp4", 0.6))
    end = FrameStream(short, 0, Counter())
    last = grey(end.frame(short.frames - 1))
    assert short.frames - 3 <= last < short.frames
    assert end.ended
    assert end.damaged >= set(range(last + 1, short.frames))
