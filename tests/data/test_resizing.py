from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.data.resizing import fit
from tests.checkpoint.reference_files import shared_golden

#: Pictures and what OpenCV made of them (every 4th and every 8th row).
GOLDEN = np.load(Path(__file__).parent / "golden" / "resize.npz")


def test_by_hand() -> None:
    wide = np.arange(8, dtype=np.uint8).reshape(2, 4, 1).repeat(3, axis=2)
    assert fit(wide, 2)[0].tolist() == [[1, 2], [5, 6]]
    assert fit(wide.transpose(1, 0, 2), 2)[0].tolist() == [[1, 5], [2, 6]]
    # Doubled: samples at -0.25, 0.25, 0.75 and 1.25 of [[0, 40], [80, 120]].
    small = np.array([[0, 40], [80, 120]], dtype=np.uint8)[..., None].repeat(3, axis=2)
    assert fit(small, 4)[1].tolist() == [[0, 10, 30, 40], [20, 30, 50, 60], [60, 70, 90, 100], [80, 90, 110, 120]]
    # Halved: means of two by two.
    assert fit(np.kron(small, np.ones((2, 2, 1), np.uint8)), 2)[2].tolist() == [[0, 40], [80, 120]]


def test_channels_stay_apart() -> None:
    image = np.zeros((30, 50, 3), dtype=np.uint8)
    image[..., 1], image[..., 2] = 100, 255
    result = fit(image, 20)
    assert result.shape == (3, 20, 20)
    assert [channel.unique().tolist() for channel in result] == [[0], [100], [255]]


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (7, 7), (160, 16)])
def test_without_a_crop_the_shape_stays(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    whole, square = fit(image, 12, crop=False), fit(image, 12)
    assert min(whole.shape[1:]) == 12
    assert max(whole.shape[1:]) == int(max(shape) * 12 / min(shape) + 0.5)
    top, left = ((side - 12) // 2 for side in whole.shape[1:])
    assert torch.equal(square, whole[:, top:top + 12, left:left + 12])


def test_a_picture_that_fits_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert torch.equal(fit(image, 8), torch.from_numpy(image).permute(2, 0, 1))


def test_views_that_run_backwards() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    assert torch.equal(fit(image[::-1, ::-1], 6), fit(np.ascontiguousarray(image[::-1, ::-1]), 6))


@pytest.mark.parametrize(("name", "step"), [("90x121", 4), ("161x213", 8)])
def test_equals_opencv(name: str, step: int) -> None:
    np.testing.assert_array_equal(fit(GOLDEN[f"in_{name}"], 160)[:, ::step], GOLDEN[f"out_{name}"])


@pytest.mark.skipif(shared_golden() is None, reason="needs the reference's files")
def test_equals_the_reference_pipeline() -> None:
    golden = np.load(shared_golden() / "11_datasets" / "frame_preprocessing.npz")  # type: ignore[operator]
    names = [name for name in golden.files if name.startswith("in_")]
    assert len(names) == 6
    for name in names:
        ours = torch.stack([fit(image, 160) for image in golden[name]])
        np.testing.assert_array_equal(ours.transpose(0, 1), golden[name.replace("in_", "out_")][0])
