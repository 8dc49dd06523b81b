"""From a decoded frame to the picture that it shows."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter


def picture(frame: av.VideoFrame, convert: VideoReformatter) -> np.ndarray:
    """The frame as uint8 RGB ``[H, W, 3]``, turned or mirrored as the file says (phones film upright with a turned sensor)."""
    rgb = convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return rgb if matrix is None else _turned(rgb, np.frombuffer(bytes(matrix), dtype=np.int32))


def _turned(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``matrix`` takes a point (x, y) of the image to (a x + c y, b x + d y); it is brought to the nearest right angle."""
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    if abs(b) > abs(a):
        image, across, down = image.transpose(1, 0, 2), c, b
    else:
        across, down = a, d
    return image[::-1 if down < 0 else 1, ::-1 if across < 0 else 1]
