from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import pytest

from tadshrink.data import decoding as module
from tadshrink.data.decoding import decode
from tadshrink.data.video_index import index_video
from tadshrink.errors import UserError
from tests.data.broken import damaged, write_table_first
from tests.data.conftest import grey

Clips = Callable[..., Path]

#: AVI, FLV and MPEG-TS are indexed by decoding order; in AVI there is no other.
FORMATS = [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264"),
           ("a.flv", "libx264"), ("hevc.mp4", "libx265")]


@pytest.mark.parametrize("fps", [24, Fraction(30000, 1001), 60])
@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_frames_are_numbered_in_the_order_of_showing(clips: Clips, name: str, codec: str, fps: int | Fraction) -> None:
    found = [(number, grey(frame)) for number, frame in decode(index_video(clips(name, codec=codec, fps=fps)))]
    assert found == [(number, number) for number in range(48)]


@pytest.mark.parametrize(("name", "codec"), FORMATS)
@pytest.mark.parametrize("late", [0, 100])
def test_a_seek_lands_at_or_before(clips: Clips, name: str, codec: str, late: int) -> None:
    index = index_video(clips(name, codec=codec, ticks=range(late, late + 48)))
    for first in (1, 2, 11, 12, 13, 25, 36, 47):
        found = [(number, grey(frame)) for number, frame in decode(index, first)]
        assert found == [(number, number) for number in range(found[0][0], 48)]
        assert found[0][0] == index.starts(first)[0] <= first


def test_open_groups_of_pictures(clips: Clips) -> None:
    """A key frame is followed by frames that are shown before it and need those before it."""
    index = index_video(clips("a.mkv", options={"g": "12", "bf": "2", "threads": "1", "crf": "10",
                                                "x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0"}))
    for first in range(48):
        found = [(number, grey(frame)) for number, frame in islice(decode(index, first), 13)]
        assert found[0][0] <= first
        assert all(number == level for number, level in found)
        assert all(after == before + 1 for (before, _), (after, _) in pairwise(found))


@pytest.mark.parametrize("found", [[], [(36, None)]])
def test_where_a_key_frame_is_not_found_or_spoilt_decoding_starts_further_back(clips: Clips, monkeypatch: pytest.MonkeyPatch,
                                                                              found: list[tuple[int, None]]) -> None:
    index, tried = index_video(clips("a.mp4")), []
    start = module._from
    monkeypatch.setattr(module, "_from", lambda index, number: tried.append(number) or (iter(found) if number else start(index, number)))
    assert next(decode(index, 30))[0] == 0
    assert tried == [24, 12, 0]


def test_one_spoilt_packet_is_left_out(tmp_path: Path) -> None:
    whole = write_table_first(tmp_path / "whole.mp4")
    index = index_video(damaged(whole, tmp_path / "a.mp4", 20))
    numbers = [number for number, _ in decode(index)]
    assert numbers == [number for number in range(48) if number != 20]


def test_a_spoilt_beginning(tmp_path: Path) -> None:
    index = index_video(damaged(write_table_first(tmp_path / "whole.mp4"), tmp_path / "a.mp4", 0))
    numbers, levels = zip(*[(number, grey(frame)) for number, frame in decode(index)], strict=True)
    assert numbers == levels
    assert 0 < numbers[0] < 12
    assert numbers[-1] == 47
    assert index.frames == 48


def test_nothing_that_can_be_decoded(clips: Clips, tmp_path: Path) -> None:
    data = bytearray(clips("a.mp4").read_bytes())
    start, end = data.find(b"mdat") + 4, data.find(b"moov") - 4
    data[start:end] = bytes(end - start)
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.mp4: no frame can be decoded") as caught:
        list(decode(index_video(path), 30))
    assert "\n" not in str(caught.value)


def test_leaving_early_closes_the_file(clips: Clips) -> None:
    frames = decode(index_video(clips("a.mp4")))
    assert len(list(islice(frames, 3))) == 3
    frames.close()  # type: ignore[attr-defined]
    assert list(frames) == []
