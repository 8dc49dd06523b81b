from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tadshrink.data import damage as module
from tadshrink.data import frame_stream
from tadshrink.data.damage import damage
from tadshrink.data.video_index import index_video
from tadshrink.errors import UserError
from tests.data.broken import cut, damaged, longer_mkv, write_table_first


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 frames, with a key frame every 12."""
    return write_table_first(tmp_path_factory.mktemp("damage") / "whole.mp4")


def told(path: Path) -> list[tuple[str, str]]:
    problems = list(damage(index_video(path), "video 'a'"))
    assert all((problem.file, problem.record, problem.fatal) == (path, "video 'a'", False) for problem in problems)
    return [(problem.kind, problem.text) for problem in problems]


def test_a_whole_file(whole: Path) -> None:
    assert told(whole) == []


@pytest.mark.parametrize("frame", [0, 20, 47])
def test_spoilt_packets_that_leads_to_a_place_are_found(whole: Path, tmp_path: Path, frame: int) -> None:
    (kind, text), = told(damaged(whole, tmp_path / "a.mp4", frame))
    assert kind == "damaged"
    assert "cannot be decoded, or not without flaws, of those that lead to 5 places; the first is frame" in text


def test_a_middle_that_was_overwritten(whole: Path, tmp_path: Path) -> None:
    data = bytearray(whole.read_bytes())
    data[len(data) // 3:2 * len(data) // 3] = bytes(len(data) // 3)
    (tmp_path / "a.mp4").write_bytes(data)
    assert [kind for kind, *_ in told(tmp_path / "a.mp4")] == ["damaged"]


def test_a_file_that_was_cut_off(whole: Path, tmp_path: Path) -> None:
    assert "damaged" in [kind for kind, *_ in told(cut(whole, tmp_path / "a.mp4", 0.7))]


def test_a_header_that_promises_more(clips: Callable[..., Path], tmp_path: Path) -> None:
    assert told(longer_mkv(clips("a.mkv"), tmp_path / "a.mkv")) == [("cut off", "its header says 5.76 s, and its frames end at 1.92 s")]


def test_a_file_of_which_nothing_can_be_decoded(whole: Path, tmp_path: Path) -> None:
    index = index_video(whole)
    start = whole.read_bytes().find(b"mdat") + 4
    data = bytearray(whole.read_bytes())
    data[start:] = bytes(len(data) - start)
    (tmp_path / "a.mp4").write_bytes(data)
    assert index_video(tmp_path / "a.mp4").frames == index.frames
    with pytest.raises(UserError, match=r"a\.mp4"):
        told(tmp_path / "a.mp4")


def test_only_what_leads_to_the_places_is_decoded(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKS", 2)
    monkeypatch.setattr(frame_stream, "PATIENCE", 10)
    # Between the first frame and the key frame before the last one nothing is looked at.
    assert told(damaged(whole, tmp_path / "a.mp4", 20)) == []
