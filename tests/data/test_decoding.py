from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from tadshrink.data.decoding import decode, open_video
from tadshrink.errors import UserError


def write_audio(path: Path, picture: bool = False) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        sound.layout = "mono"
        if picture:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width = cover.height = 32
            cover.pix_fmt, cover.disposition = "yuvj420p", av.stream.Disposition.attached_pic.value
            container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            container.mux(cover.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def one_line(error: UserError, path: Path) -> str:
    text = str(error)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize(("name", "content"), [
    ("empty.mp4", b""),
    ("text.mp4", b"hello world\n" * 100),
    ("noise.mkv", np.random.default_rng(0).bytes(5000)),
    # FFmpeg would render these as pictures of a terminal.
    ("text.txt", b"hello world\n" * 100),
    ("read.nfo", b"x" * 1000),
    ("words.srt", b"1\n00:00:01,000 --> 00:00:02,000\nhi\n"),
])
def test_a_file_that_is_no_video(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a readable video|no video stream") as caught, open_video(path):
        pass
    one_line(caught.value, path)


def test_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such video") as caught, open_video(tmp_path / "absent.mp4"):
        pass
    one_line(caught.value, tmp_path / "absent.mp4")
    with pytest.raises(UserError, match="not a readable video") as caught, open_video(tmp_path):
        pass
    one_line(caught.value, tmp_path)


@pytest.mark.parametrize("picture", [False, True])
def test_music_is_no_video_even_with_a_cover_picture(tmp_path: Path, picture: bool) -> None:
    path = write_audio(tmp_path / "song.m4a", picture)
    with pytest.raises(UserError, match="no video stream"), open_video(path):
        pass


def test_a_codec_that_the_container_cannot_name(clips: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="codec is not known"), open_video(clips("a.mpg", codec="wmv2", frames=20, options={"g": "12"})):
        pass


def test_half_a_file(clips: Callable[..., Path], tmp_path: Path) -> None:
    whole = clips("a.mp4").read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match="not a readable video") as caught:
        list(decode(path, 0, 25))
    one_line(caught.value, path)


def test_damage_in_the_middle(clips: Callable[..., Path], tmp_path: Path) -> None:
    data = bytearray(clips("a.mp4").read_bytes())
    place = data.find(b"mdat") + 1000
    data[place:place + 400] = bytes(byte ^ 0x5A for byte in data[place:place + 400])
    path = tmp_path / "damaged.mp4"
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="cannot be decoded") as caught:
        list(decode(path, 0, 25))
    one_line(caught.value, path)


def test_a_name_with_a_colon_is_a_file(clips: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cam1-12:30.mp4").write_bytes(clips("a.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    with open_video("cam1-12:30.mp4") as (_, stream):
        assert stream.frames == 48


@pytest.mark.parametrize("fps", [24, Fraction(30000, 1001), 30])
def test_times_are_those_of_showing(clips: Callable[..., Path], fps: int | Fraction) -> None:
    times = [time for time, _ in decode(clips("a.mp4", fps=fps), 0, float(fps))]
    assert times == pytest.approx(np.arange(48) / float(fps), abs=1e-6)


#: AVI, FLV and MPEG-TS are indexed by decoding order; in AVI there is no other.
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "libx264"),
                                             ("a.avi", "mpeg4"), ("a.ts", "libx264"), ("a.flv", "libx264")])
def test_a_seek_lands_at_or_before(clips: Callable[..., Path], name: str, codec: str) -> None:
    path = clips(name, codec=codec)
    everything = [time for time, _ in decode(path, 0, 25)]
    assert len(everything) == 48
    assert everything == pytest.approx(np.arange(48) / 25, abs=2e-3)
    for frame in (1, 2, 11, 12, 13, 25, 47):
        first = next(iter(decode(path, frame / 25, 25)))[0]
        assert first <= frame / 25 + 0.004
        assert min(abs(first - time) for time in everything) < 1e-9


def test_a_seek_skips_what_lies_before(clips: Callable[..., Path]) -> None:
    assert next(iter(decode(clips("a.mp4"), 30 / 25, 25)))[0] >= 12 / 25


def test_leaving_early_closes_the_file(clips: Callable[..., Path]) -> None:
    frames = decode(clips("a.mp4"), 0, 25)
    assert len(list(islice(frames, 3))) == 3
    frames.close()
    assert list(frames) == []
