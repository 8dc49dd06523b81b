"""What a recogniser sees of a trimmed video: clips at several moments, and of each of them one or several square crops."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tadshrink.data.augment import AUGMENTATIONS
from tadshrink.data.video import FrameStore
from tadshrink.errors import UserError
from tadshrink.recognition.config import ClipConfig, RecogniserConfig
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.reporting import SILENT, Reporter

#: In place of a number of views: one clip whose frames are spread over the whole video.
UNIFORM = "uniform"
_VIEWS = re.compile(r"([1-9]\d{0,2})x(?:1of([2-9])|([1-9]\d?))", re.ASCII)


class Views(NamedTuple):
    """So many clips, and so many crops of each; "10x3" are the thirty views of dense testing.

    Attributes:
        spread: there is one clip, whose frames are spread over the whole video.
        turns: each clip has one crop, of so many in turn: all of the picture is seen, though not at all times. "10x1of3" are ten views.
    """

    clips: int
    crops: int
    spread: bool = False
    turns: int = 1

    def __str__(self) -> str:
        return UNIFORM if self.spread else f"{self.clips}x{self.crops}" + (f"of{self.turns}" if self.turns > 1 else "")


def parse_views(text: str) -> Views:
    """Read "10x3", or "10x1of3".

    Raises:
        UserError: it is something else.
    """
    if text == UNIFORM:
        return Views(1, 1, spread=True)
    match = _VIEWS.fullmatch(text)
    if match is None:
        raise UserError(f"views {text!r} are unknown", fix="Give clips x crops, such as 10x3, 10x1of3, 10x1 or 1x1, uniform or sfc")
    views = Views(int(match[1]), int(match[3] or 1), turns=int(match[2] or 1))
    if views.turns > views.clips:
        raise UserError(f"views {text!r}: {views.clips} clips cannot take turns with {views.turns} crops", fix="Give more clips")
    return views


def clip_starts(first: int, end: int, span: int, clips: int) -> np.ndarray:
    """First frames of clips of ``span`` frames, int64 ``[clips]``: clip i has its centre in that of the i-th of ``clips`` equal
    parts of the frames from ``first`` to ``end``, but for what would stick out, which is moved inside."""
    centres = first + (np.arange(clips) + 0.5) * (end - first) / clips
    return np.clip(np.floor(centres - span / 2 + 0.5).astype(np.int64), first, max(first, end - span))


def random_starts(first: int, end: int, span: int, clips: int, rng: np.random.Generator) -> np.ndarray:
    """First frames of clips likewise, each at random in its part of all places where a clip fits, int64 ``[clips]``."""
    room = max(0, end - span - first) + 1
    return first + np.floor((np.arange(clips) + rng.random(clips)) * room / clips).astype(np.int64)


def frame_numbers(starts: np.ndarray, end: int, clip: ClipConfig) -> np.ndarray:
    """Frames of each clip, int64 ``[clips, F]``; beyond the end, the last frame is repeated."""
    return np.minimum(starts[:, None] + np.arange(clip.frames) * clip.stride, end - 1)


def spread_frames(first: int, end: int, count: int) -> np.ndarray:
    """One clip of frames in the middle of equal parts of a video, int64 ``[1, count]``."""
    return (first + np.floor((np.arange(count) + 0.5) * (end - first) / count).astype(np.int64))[None]


def crop_corners(height: int, width: int, size: int, crops: int) -> list[tuple[int, int]]:
    """Top and left of square crops: the centre, or several, evenly along the longer side from end to end."""
    room = np.array([height - size, width - size])
    if crops == 1:
        return [(int(room[0]) // 2, int(room[1]) // 2)]
    along = room == room.max()
    shares = np.arange(crops)[:, None] / (crops - 1)
    # Of a square frame all crops are the same.
    return [(int(top), int(left)) for top, left in np.where(along, np.floor(room * shares + 0.5), room // 2)]


class ClipSource:
    """Loads clips. Frames that were decoded are kept, up to a number of bytes.

    Args:
        augment: how :meth:`draw` changes clips, a key of :data:`~tadshrink.data.augment.AUGMENTATIONS`.
    """

    def __init__(self, clip: ClipConfig, augment: str = "none", reporter: Reporter = SILENT, max_bytes: int = 2 << 30) -> None:
        self.clip, self.augmentation = clip, AUGMENTATIONS[augment]
        self.frames = FrameStore(clip.size, max_bytes, reporter, crop=False)
        margin = self.augmentation.margin
        self.training = self.frames if margin is None else self.frames.uncropped(round(margin * clip.size))

    def views(self, record: TrimmedVideo, views: Views, chosen: slice = slice(None)) -> Tensor:
        """uint8 ``[clips * crops, 3, F, S, S]``, the crops of a clip next to each other.

        Args:
            chosen: only these of the clips.

        Raises:
            UserError: the file cannot be read, or the part lies behind its end.
        """
        first, end = record.frames(self.frames.index(record.path))
        if views.spread:
            numbers = spread_frames(first, end, self.clip.frames)
        else:
            numbers = frame_numbers(clip_starts(first, end, self.clip.span, views.clips)[chosen], end, self.clip)
        return self._crops(self._load(self.frames, record, numbers), views.crops, views.turns, chosen.start or 0)

    def draw(self, record: TrimmedVideo, clips: int, rng: np.random.Generator, changed: bool = True, turns: int = 1) -> Tensor:
        """uint8 ``[clips, 3, F, S, S]`` for training: each clip at random in its part of the video, and all changed alike.

        Args:
            changed: otherwise clips are only drawn, and cut out as those of :meth:`views` with one crop.
            turns: clips have one of so many crops in turn; 1 is, of clips that are changed, a square at a random place for all of them.

        Raises:
            UserError: as :meth:`views`.
        """
        store = self.training if changed else self.frames
        first, end = record.frames(store.index(record.path))
        pictures = self._load(store, record, frame_numbers(random_starts(first, end, self.clip.span, clips, rng), end, self.clip))
        if not changed:
            return self._crops(pictures, 1, turns)
        if turns > 1:
            pictures = self._crops(pictures, 1, turns).transpose(1, 2)
        elif self.augmentation.margin is None:
            pictures = _random_square(pictures, self.clip.size, rng)
        result = self.augmentation.change(pictures.flatten(0, 1).transpose(0, 1), self.clip.size, rng)
        return result.unflatten(1, (clips, self.clip.frames)).transpose(0, 1)

    def _crops(self, pictures: Tensor, crops: int, turns: int = 1, first: int = 0) -> Tensor:
        """Of clips ``[clips, F, 3, h, w]``, which are numbered from ``first``: uint8 ``[clips * crops, 3, F, S, S]``, as large as can be."""
        size = min(pictures.shape[-2:])
        corners = crop_corners(*pictures.shape[-2:], size, max(crops, turns))
        chosen = [[corners[(first + number) % turns]] if turns > 1 else corners for number in range(len(pictures))]
        cut = [clip[..., top:top + size, left:left + size] for clip, own in zip(pictures, chosen, strict=True) for top, left in own]
        return torch.stack(cut).transpose(1, 2)

    @staticmethod
    def _load(store: FrameStore, record: TrimmedVideo, numbers: np.ndarray) -> Tensor:
        """uint8 ``[clips, F, 3, h, w]``; each frame is decoded once."""
        needed, places = np.unique(numbers, return_inverse=True)
        return store.frames(record.path, needed)[torch.from_numpy(places.reshape(numbers.shape))]


def module_views(config: RecogniserConfig) -> Views:
    """The clips that a module joins; without one, whatever: it is told where it is missing."""
    return Views(config.sfc.clips, 1, turns=config.sfc.crops) if config.sfc else Views(1, 1)


def noise(clip: ClipConfig, count: int) -> Tensor:
    """So many clips of one video that shows nothing, always the same: uint8 ``[1, count, 3, F, S, S]``."""
    shape = (1, count, 3, clip.frames, clip.size, clip.size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _random_square(pictures: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    top, left = (int(rng.integers(0, side - size + 1)) for side in pictures.shape[-2:])
    return pictures[..., top:top + size, left:left + size]
