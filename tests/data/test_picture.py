from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from tadshrink.data.decoding import decode
from tadshrink.data.picture import picture
from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import index_video

#: Quarters of the picture as it is stored: red and green above, blue and white below.
STORED = np.zeros((48, 64, 3), np.uint8)
STORED[:24, :32, 0] = STORED[:24, 32:, 1] = STORED[24:, :32, 2] = 255
STORED[24:, 32:] = 255


def write(path: Path, **turn: object) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if turn:
            stream.set_display_rotation(**turn)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(STORED, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("turn", "shown"), [
    ({}, STORED),
    # Degrees against the clock.
    ({"degrees": 90}, np.rot90(STORED)),
    ({"degrees": 180}, np.rot90(STORED, 2)),
    ({"degrees": -90}, np.rot90(STORED, -1)),
    ({"degrees": 0, "hflip": True}, STORED[:, ::-1]),
    ({"degrees": 0, "vflip": True}, STORED[::-1]),
    ({"degrees": 90, "hflip": True}, np.rot90(STORED)[:, ::-1]),
    ({"degrees": 90, "vflip": True}, np.rot90(STORED)[::-1]),
])
def test_pictures_are_turned_as_the_file_says(tmp_path: Path, turn: dict[str, object], shown: np.ndarray) -> None:
    path = write(tmp_path / "a.mp4", **turn)
    _, frame = next(decode(index_video(path)))
    ours = picture(frame, VideoReformatter())
    assert ours.shape == shown.shape
    assert np.abs(ours.astype(int) - shown).mean() < 12
    small = FrameStore(16).frames(path, np.array([0]))[0]
    quarters = [small[:, 4 + 8 * row, 4 + 8 * column].tolist() for row in (0, 1) for column in (0, 1)]
    height, width = shown.shape[:2]
    expected = [shown[row * height // 4, column * width // 4].tolist() for row in (1, 3) for column in (1, 3)]
    assert np.abs(np.array(quarters) - np.array(expected)).max() < 40
