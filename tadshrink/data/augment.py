"""Random changes of a training clip that leave its actions where they are. All frames of a clip change alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Share of the side that a random crop keeps, and how far brightness and contrast go from 1.
CROP = (0.8, 1.0)
JITTER = 0.2
#: The reference's crop: share of the picture's area, width / height, and draws before the centre is taken.
AREA, ASPECT, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
#: The reference's colours: how far brightness, contrast and saturation go from 1, and hue from 0, in turns.
COLOUR, HUE = 0.5, 0.1
#: Shares of red, green and blue in grey, and the two axes of colour around it (YIQ).
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
#: Frames that are worked on at a time.
CHUNK = 64


@dataclass(frozen=True)
class Augmentation:
    """One way to change clips.

    Attributes:
        change: takes uint8 ``[3, F, H, W]`` and the side of the result to uint8 ``[3, F, side, side]``.
        margin: the clip comes uncropped, its shorter side this many times the side of the result; ``None``: as for inference.
    """

    change: Callable[[Tensor, int, np.random.Generator], Tensor]
    margin: float | None = None


def augment(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """Random crop (resized back), brightness and contrast. ``clip``: uint8 ``[3, F, H, W]``, returned likewise.

    No mirroring: an action may be defined by its direction.
    """
    return _jitter(_random_crop(clip, rng), rng)


def flipped(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """:func:`augment`, and mirrored along either axis, each in half of the clips: for a camera that looks straight down."""
    axes = [axis for axis, mirrored in ((-1, rng.random() < 0.5), (-2, rng.random() < 0.5)) if mirrored]
    return augment(clip.flip(axes), rng)


def reference(clip: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """The training pipeline of OpenTAD and Progressive Block Drop, without its ``ImgAug`` (RandAugment): a random crop of any
    size and shape, mirrored left to right in half of the clips, with other colours."""
    top, left, height, width = _crop_box(*clip.shape[2:], rng)
    mirrored, (colours, gain, offset) = rng.random() < 0.5, _colours(rng)
    parts = []
    for part in clip[:, :, top:top + height, left:left + width].split(CHUNK, dim=1):
        pictures = functional.interpolate(part.float(), size=(side, side), mode="bilinear", align_corners=False)
        grey = torch.einsum("c,cfhw->f", YIQ[0], pictures) / side**2
        changed = gain * torch.einsum("ij,jfhw->ifhw", colours, pictures) + offset * grey[:, None, None]
        parts.append((changed.flip(-1) if mirrored else changed).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts, dim=1)


#: By ``DatasetConfig.augment``.
AUGMENTATIONS = {
    "light": Augmentation(lambda clip, side, rng: augment(clip, rng)),
    "flips": Augmentation(lambda clip, side, rng: flipped(clip, rng)),
    "reference": Augmentation(reference, margin=182 / 160),
    "none": Augmentation(lambda clip, side, rng: clip),
}


def _random_crop(clip: Tensor, rng: np.random.Generator) -> Tensor:
    size = clip.shape[-1]
    kept = round(size * rng.uniform(*CROP))
    top, left = rng.integers(0, size - kept + 1, 2)
    if kept == size:
        return clip.float()
    cropped = clip[:, :, top:top + kept, left:left + kept].float()
    return functional.interpolate(cropped, size=(size, size), mode="bilinear", align_corners=False)


def _jitter(clip: Tensor, rng: np.random.Generator) -> Tensor:
    brightness, contrast = 1 + rng.uniform(-JITTER, JITTER, 2)
    mean = clip.mean()
    return ((clip - mean) * float(contrast) + mean * float(brightness)).round().clamp(0, 255).to(torch.uint8)


def _crop_box(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop."""
    for _ in range(TRIES):
        area, aspect = height * width * rng.uniform(*AREA), math.exp(rng.uniform(*map(math.log, ASPECT)))
        tall, wide = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < tall <= height and 0 < wide <= width:
            return int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1)), tall, wide
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _colours(rng: np.random.Generator) -> tuple[Tensor, float, float]:
    """Brightness, then contrast around the mean grey of a frame, saturation and hue: a matrix ``[3, 3]`` on colours, the factor
    on what it gives, and that on the mean grey which is added."""
    brightness, contrast, saturation = (1 + rng.uniform(-COLOUR, COLOUR, 3)).tolist()
    angle = 2 * math.pi * rng.uniform(-HUE, HUE)
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    turn = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return torch.linalg.inv(YIQ) @ turn @ YIQ, brightness * contrast, brightness * (1 - contrast)
