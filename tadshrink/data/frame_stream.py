"""One pass forwards over a video, from which frames are taken by number."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av

from tadshrink.data.decoding import Numbered, decode
from tadshrink.data.video_index import VideoIndex

#: A stream goes on through at most so many unwanted frames before a key frame; beyond, it pays to start there.
PATIENCE = 48


class FrameStream:
    """Decodes from the key frame before frame ``first`` on, each frame once.

    Args:
        decoded: counts the frames that are decoded, by video.

    Attributes:
        damaged: numbers of the frames passed so far that could not be decoded, or only with flaws.
        ended: no frame is left.

    Raises:
        UserError: the file cannot be opened, or not one of its frames can be decoded.
    """

    def __init__(self, index: VideoIndex, first: int, decoded: Counter[Path]) -> None:
        self.index, self.ended, self._decoded = index, False, decoded
        self.damaged: set[int] = set()
        self._frames = decode(index, first)
        head = next(self._frames)
        #: The frame before the current one, or a number alone where none was decoded.
        self._before: tuple[int, av.VideoFrame | None] = (min(first, head[0]) - 1, None)
        self._current = self._arrived(head)

    def leads_to(self, index: VideoIndex, number: int) -> bool:
        """Whether a frame of a video still lies ahead, and not so far that another start would be better."""
        return index is self.index and number > self._before[0] and index.starts(number)[0] - self._current[0] <= PATIENCE

    def frame(self, number: int) -> av.VideoFrame:
        """A frame that the stream :meth:`leads_to`; where it cannot be decoded, the nearest in time of those that can."""
        while self._current[0] < number and not self.ended:
            self._advance()
        times, (before, stand_in), (current, frame) = self.index.times, self._before, self._current
        if stand_in is not None and current > number and times[number] - times[before] <= times[current] - times[number]:
            return stand_in
        return frame

    def close(self) -> None:
        """Close the file."""
        self._frames.close()  # type: ignore[attr-defined]

    def _advance(self) -> None:
        following = next(self._frames, None)
        if following is None:
            self.ended = True
            self.damaged.update(range(self._current[0] + 1, self.index.frames))
        else:
            self._before = self._current
            self._current = self._arrived(following)

    def _arrived(self, numbered: Numbered) -> Numbered:
        number, frame = numbered
        self._decoded[self.index.path] += 1
        self.ended = number == self.index.frames - 1
        self.damaged.update(range(self._before[0] + 1, number))
        if frame.is_corrupt:
            self.damaged.add(number)
        return numbered
