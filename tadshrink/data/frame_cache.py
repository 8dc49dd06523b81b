"""Pictures of many videos, kept up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor


class FrameCache:
    """Pictures by video and frame number; the video that was used least recently goes first.

    Of a video that would fill more than a quarter of the cache, only the pictures of the last request are kept: what the next
    window shares with it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._videos: OrderedDict[Path, dict[int, Tensor]] = OrderedDict()
        self._bytes: dict[Path, int] = {}
        self._large: set[Path] = set()

    @property
    def bytes(self) -> int:
        """Bytes of all pictures."""
        return sum(self._bytes.values())

    def of(self, path: Path) -> dict[int, Tensor]:
        """The pictures of a video that are here; only to be looked at."""
        return self._videos.get(path, {})

    def put(self, path: Path, added: dict[int, Tensor], needed: set[int]) -> None:
        """Add pictures of a video, and drop what no longer fits.

        Args:
            needed: the numbers of all pictures of this request, also of those that were here before.
        """
        pictures = self._videos.setdefault(path, {})
        self._videos.move_to_end(path)
        pictures.update(added)
        self._bytes[path] = self._bytes.get(path, 0) + _bytes(added.values())
        if path in self._large or self._bytes[path] > self.max_bytes // 4:
            self._large.add(path)
            self._bytes[path] -= _bytes([pictures.pop(number) for number in pictures.keys() - needed])
        while len(self._videos) > 1 and self.bytes > self.max_bytes:
            del self._bytes[self._videos.popitem(last=False)[0]]


def _bytes(pictures: Iterable[Tensor]) -> int:
    return sum(picture.numel() for picture in pictures)
