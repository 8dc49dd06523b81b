from __future__ import annotations

import numpy as np
import pytest
import torch

from tadshrink.data import augment as module
from tadshrink.data.augment import AUGMENTATIONS, augment, flipped, reference


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


def test_flips_go_both_ways_and_nothing_else_moves() -> None:
    clip = torch.arange(32 * 32).reshape(32, 32).mul(200 / 1024).to(torch.uint8).expand(3, 2, 32, 32).clone()
    seen = set()
    for seed in range(40):
        result = flipped(clip, np.random.default_rng(seed)).float()
        assert (result == result[:, :1]).all()
        seen.add((bool(result[0, 0, 0].mean() > result[0, 0, -1].mean()), bool(result[0, 0, :, 0].mean() > result[0, 0, :, -1].mean())))
    assert len(seen) == 4


@pytest.mark.parametrize("shape", [(182, 243), (40, 30), (20, 200)])
def test_reference_gives_squares_from_any_shape(shape: tuple[int, int]) -> None:
    clip = torch.randint(0, 256, (3, 70, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = reference(clip, 16, np.random.default_rng(0))
    assert (result.shape, result.dtype) == ((3, 70, 16, 16), torch.uint8)
    assert torch.equal(result, reference(clip, 16, np.random.default_rng(0)))
    assert not torch.equal(result, reference(clip, 16, np.random.default_rng(1)))


def test_reference_crops_within_its_limits() -> None:
    rng, areas, aspects = np.random.default_rng(0), [], []
    for _ in range(500):
        top, left, height, width = module._crop_box(90, 120, rng)
        assert min(top, left) >= 0
        assert top + height <= 90
        assert left + width <= 120
        areas.append(height * width / (90 * 120))
        aspects.append(width / height)
    assert 0.06 < min(areas) < 0.15
    assert 0.85 < max(areas) <= 1
    assert min(aspects) == pytest.approx(3 / 4, abs=0.05)
    assert max(aspects) == pytest.approx(4 / 3, abs=0.08)
    # No crop of such a shape is large enough: the centre.
    assert module._crop_box(10, 4000, rng) == (0, 1995, 10, 10)


def test_reference_changes_all_frames_alike_and_mirrors_left_to_right_only() -> None:
    across, down = set(), set()
    for seed in range(40):
        result = reference(gradient(70), 16, np.random.default_rng(seed)).float()
        assert (result == result[:, :1]).all()
        rises = result[:, 0].mean(dim=(0, 1))
        across.add(bool(rises[0] > rises[-1]))
        result = reference(gradient(2).mT, 16, np.random.default_rng(seed)).float()
        down.add(bool(result[:, 0].mean(dim=(0, 2))[0] > result[:, 0].mean(dim=(0, 2))[-1]))
    assert (across, down) == ({True, False}, {False})


def test_reference_colours_by_hand() -> None:
    def colours(brightness: float, contrast: float, saturation: float, hue: float) -> tuple[torch.Tensor, float, float]:
        class Fixed:
            def uniform(self, low: float, high: float, size: int | None = None) -> object:
                return hue if size is None else np.array([brightness, contrast, saturation]) - 1.0

        return module._colours(Fixed())  # type: ignore[arg-type]

    red, grey = torch.tensor([200.0, 100.0, 100.0]), torch.tensor([80.0, 80.0, 80.0])
    matrix, gain, offset = colours(1, 1, 1, 0)
    torch.testing.assert_close(matrix @ red, red, atol=1e-3, rtol=0)
    assert (gain, offset) == (1, 0)
    # Half as bright; then a quarter of the distance to the mean grey of the frame: x * 0.125 + mean * 0.375.
    _, gain, offset = colours(0.5, 0.25, 1, 0)
    assert (gain, offset) == pytest.approx((0.125, 0.375))
    # Without saturation a colour is its grey, and grey has no hue.
    matrix, _, _ = colours(1, 1, 0, 0.3)
    torch.testing.assert_close(matrix @ red, torch.full((3,), 0.299 * 200 + 0.701 * 100), atol=0.2, rtol=0)
    matrix, _, _ = colours(1, 1, 1, 0.3)
    torch.testing.assert_close(matrix @ grey, grey, atol=0.2, rtol=0)
    # A third of a turn takes red to green or blue.
    matrix, _, _ = colours(1, 1, 1, 1 / 3)
    assert (matrix @ red).argmax() != 0


def test_reference_keeps_colours_where_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COLOUR", 0.0), ("HUE", 0.0), ("AREA", (1.0, 1.0)), ("ASPECT", (1.0, 1.0))):
        monkeypatch.setattr(module, name, value)
    clip = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    results = [reference(clip, 16, np.random.default_rng(seed)).int() for seed in range(8)]
    assert {any((result - same.int()).abs().max() <= 1 for same in (clip, clip.flip(-1))) for result in results} == {True}


def test_none_changes_nothing() -> None:
    assert AUGMENTATIONS["none"].change(gradient(), 32, np.random.default_rng(0)).equal(gradient())


def test_reference_contrast_is_around_the_mean_grey_of_each_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_colours", lambda rng: (torch.eye(3), 0.5, 0.5))
    monkeypatch.setattr(module, "_crop_box", lambda height, width, rng: (0, 0, height, width))
    clip = torch.zeros(3, 2, 4, 4, dtype=torch.uint8)
    clip[:, 0, :2], clip[:, 1] = 200, 60
    result = reference(clip, 4, np.random.default_rng(0))
    # Means 100 and 60: half of the distance to them.
    assert [frame.unique().tolist() for frame in result.transpose(0, 1)] == [[50, 150], [60]]
