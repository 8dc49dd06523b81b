"""Random changes of a training clip that leave its actions where they are. All frames of a clip change alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Share of the side that a random crop keeps, and how far brightness and contrast go from 1.
CROP = (0.8, 1.0)
JITTER = 0.2


def augment(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """Random crop (resized back), brightness and contrast. ``clip``: uint8 ``[3, F, H, W]``, returned likewise.

    No mirroring: an action may be defined by its direction.
    """
    return _jitter(_random_crop(clip, rng), rng)


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
