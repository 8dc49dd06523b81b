from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tadshrink.data.container import open_video, packets
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


def one_line(error: UserError, path: Path) -> None:
    assert "\n" not in str(error)
    assert str(path) in str(error)


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


def test_a_file_that_ends_before_its_table_of_contents(clips: Callable[..., Path], tmp_path: Path) -> None:
    whole = clips("a.mp4").read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match=r"not a readable video|no video stream") as caught, open_video(path):
        pass
    one_line(caught.value, path)


def test_a_name_with_a_colon_is_a_file(clips: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cam1-12:30.mp4").write_bytes(clips("a.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    with open_video("cam1-12:30.mp4") as (_, stream):
        assert stream.frames == 48


def test_a_title_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Tatzzz"
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert content.count(b"Tatzzz") == 1
    path.write_bytes(content.replace(b"Tatzzz", "Täßöö!".encode("latin-1")))
    with open_video(path) as (container, stream):
        assert len(list(container.decode(stream))) == 1


class Broken:
    """Stands for a container whose every second read fails, some times."""

    def __init__(self, failures: int, error: type[Exception] = av.error.InvalidDataError) -> None:
        self.failures, self.read, self.error = failures, 0, error

    def demux(self, stream: object):
        while self.read < 5:
            self.read += 1
            yield self.read
            if self.failures:
                self.failures -= 1
                raise self.error(1, "bad")


@pytest.mark.parametrize("error", [av.error.InvalidDataError, av.error.MemoryError, IndexError])
def test_reading_goes_on_behind_damage(error: type[Exception]) -> None:
    assert list(packets(Broken(3, error), None)) == [1, 2, 3, 4, 5]  # type: ignore[arg-type]


def test_reading_ends_where_nothing_can_be_read() -> None:
    class Dead:
        calls = 0

        def demux(self, stream: object):
            self.calls += 1
            raise av.error.InvalidDataError(1, "bad")

    dead = Dead()
    assert list(packets(dead, None)) == []  # type: ignore[arg-type]
    assert dead.calls == 16
