"""Bilinear resizing of 8-bit pictures, to the last bit as OpenCV does it (``INTER_LINEAR``), since that is what the reference
code bases feed their models with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

#: Weights are whole numbers, and those of two neighbours add up to this.
ONE = np.float32(2048)
#: Where samples of a resized picture come from, and their weights.
Weighted = tuple[np.ndarray, np.ndarray]
#: First sample that is kept of an axis, and how many are.
Part = tuple[int, int]


def fit(image: np.ndarray, size: int, crop: bool = True) -> torch.Tensor:
    """Resize the shorter side of uint8 ``[H, W, 3]`` to ``size`` and, with ``crop``, cut out the centre square.

    Returns:
        uint8 ``[3, size, size]``, or without ``crop`` ``[3, h, w]`` with ``min(h, w) == size``.
    """
    height, width = image.shape[:2]
    scale = size / min(height, width)
    sides = max(size, int(height * scale + 0.5)), max(size, int(width * scale + 0.5))
    parts = [((side - size) // 2, size) if crop else (0, side) for side in sides]
    (top, rows), (left, columns) = parts
    same = sides == (height, width)
    image = image[top:top + rows, left:left + columns] if same else _resize(np.ascontiguousarray(image), sides, tuple(parts))
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _resize(image: np.ndarray, sides: tuple[int, int], parts: tuple[Part, ...]) -> np.ndarray:
    """Along rows first, then along columns. OpenCV drops 4 bits, then 16, and rounds the last 2."""
    height, width = image.shape[:2]
    result = np.full((1, 1), 2, dtype=np.int32)
    for places, weight in _plan(height, width, sides, parts):
        line = sum(np.take(image, place, mode="clip") * factor for place, factor in places)
        result = result + ((line >> 4) * weight >> 16)
    return (result >> 2).astype(np.uint8).reshape(parts[0][1], parts[1][1], 3)


@lru_cache(maxsize=8)
def _plan(height: int, width: int, sides: tuple[int, int], parts: tuple[Part, ...]) -> list[tuple[list[Weighted], np.ndarray]]:
    """For the upper and the lower neighbours: of the left and the right ones the places in the picture's memory
    ``[rows, columns * 3]`` with their weights ``[columns * 3]``, and the weights ``[rows, 1]`` of both together."""
    channels = np.arange(3)
    columns = [((place[:, None] * 3 + channels).ravel(), weight.repeat(3)) for place, weight in _neighbours(width, sides[1], *parts[1])]
    return [([(row[:, None] * (width * 3) + place, factor) for place, factor in columns], weight[:, None])
            for row, weight in _neighbours(height, sides[0], *parts[0])]


def _neighbours(source: int, target: int, first: int, count: int) -> tuple[Weighted, Weighted]:
    """The lower and the higher neighbour, ``[count]`` each, of the samples from ``first`` on of an axis that goes from ``source``
    to ``target`` samples."""
    place = ((np.arange(first, first + count) + 0.5) * (source / target) - 0.5).astype(np.float32)
    below = np.floor(place)
    share, low = place - below, below.astype(np.int64)
    # Beyond the edge both neighbours are the last sample; the weights stay.
    return ((np.clip(low, 0, source - 1), np.rint((1 - share) * ONE).astype(np.int32)),
            (np.clip(low + 1, 0, source - 1), np.rint(share * ONE).astype(np.int32)))
