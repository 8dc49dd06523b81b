"""A look into a video file: whether it is whole, and whether its pictures can be decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from tadshrink.data.annotations import Problem
from tadshrink.data.frame_stream import FrameStream
from tadshrink.data.video_index import VideoIndex

#: Pictures that are looked at, from the first to the last, with all that lead to them from the key frame before.
LOOKS = 5


def damage(index: VideoIndex, record: str) -> Iterator[Problem]:
    """What is wrong with a file whose packets can be read. Between the looks, nothing is seen.

    Args:
        record: what a problem is said to be of.

    Raises:
        UserError: not one picture can be decoded.
    """
    if index.declared is not None:
        yield Problem("cut off", index.path, record, f"its header says {index.declared:.2f} s, and its frames end at {index.duration:.2f} s")
    if found := sorted(_damaged(index)):
        first = found[0]
        yield Problem("damaged", index.path, record, f"{len(found)} frames cannot be decoded, or not without flaws, of those that lead to "
                      f"{LOOKS} places; the first is frame {first}, at {index.times[first]:.2f} s")


def _damaged(index: VideoIndex) -> set[int]:
    stream: FrameStream | None = None
    found: set[int] = set()
    for number in np.unique(np.linspace(0, index.frames - 1, LOOKS).round().astype(int)).tolist():
        if stream is None or not stream.leads_to(index, number):
            if stream is not None:
                stream.close()
            stream = FrameStream(index, number, Counter())
        stream.frame(number)
        found |= stream.damaged
    if stream is not None:
        stream.close()
    return found
