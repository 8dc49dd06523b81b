from __future__ import annotations

import pytest
import torch

from tadshrink.models.config import DetectorConfig
from tadshrink.profiling.windows import blank_window, example_window
from tests.profiling.models import FEATURES, VIDEO


def test_the_window_fits_the_detector_and_is_always_the_same() -> None:
    inputs, masks = example_window(VIDEO)
    assert (inputs.shape, inputs.dtype) == ((1, 1, 3, 16, 32, 32), torch.uint8)
    assert (masks.shape, masks.dtype) == ((1, 8), torch.bool)
    assert masks.all()
    assert torch.equal(inputs, example_window(VIDEO)[0])


def test_a_batch() -> None:
    inputs, masks = example_window(FEATURES, 3)
    assert (inputs.shape, masks.shape) == ((3, 6, 32), (3, 32))
    assert not torch.equal(inputs[0], inputs[1])


@pytest.mark.parametrize("config", [VIDEO, FEATURES])
def test_a_blank_window_has_the_same_shapes_and_dtypes(config: DetectorConfig) -> None:
    for blank, noise in zip(blank_window(config), example_window(config), strict=True):
        assert (blank.shape, blank.dtype, blank.device.type) == (noise.shape, noise.dtype, "meta")
