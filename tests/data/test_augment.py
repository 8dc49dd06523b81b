from __future__ import annotations

import numpy as np
import pytest
import torch

from tadshrink.data import augment as module
from tadshrink.data.augment import augment


def gradient(frames: int = 4, size: int = 32) -> torch.Tensor:
    """Rises from left to right by 4 levels per pixel; all frames are alike."""
    return (torch.arange(size) * 4 + 60).to(torch.uint8).expand(3, frames, size, size).clone()


def test_shape_and_type_stay_and_the_input_is_left_alone() -> None:
    clip = gradient()
    result = augment(clip, np.random.default_rng(0))
    assert result.shape == clip.shape
    assert result.dtype == torch.uint8
    assert torch.equal(clip, gradient())


def test_the_generator_decides_everything() -> None:
    first, again, other = (augment(gradient(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("seed", range(8))
def test_all_frames_change_alike_and_nothing_is_mirrored(seed: int) -> None:
    result = augment(gradient(), np.random.default_rng(seed)).int()
    assert (result == result[:, :1]).all()
    assert (result[..., 1:] >= result[..., :-1]).all()
    assert result[..., -1].float().mean() - result[..., 0].float().mean() > 40


def test_without_room_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CROP", (1.0, 1.0))
    monkeypatch.setattr(module, "JITTER", 0.0)
    assert torch.equal(augment(gradient(), np.random.default_rng(0)), gradient())


def test_contrast_spreads_around_the_mean_and_brightness_shifts_it() -> None:
    class Fixed:
        def uniform(self, low: float, high: float, size: int) -> np.ndarray:
            return np.array([0.1, -0.2])

    # Mean 100; values 80 and 120: (v - 100) * 0.8 + 110.
    clip = torch.tensor([80.0, 120.0]).expand(3, 1, 2, 2)
    assert module._jitter(clip, Fixed()).unique().tolist() == [94, 126]  # type: ignore[arg-type]


def test_levels_are_clamped_not_wrapped() -> None:
    clip = torch.full((3, 2, 8, 8), 255, dtype=torch.uint8)
    assert all(augment(clip, np.random.default_rng(seed)).min() >= 200 for seed in range(20))
