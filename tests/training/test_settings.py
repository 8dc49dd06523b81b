from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from tadshrink.training.settings import TrainSettings


@pytest.mark.parametrize("wrong", [
    {"epochs": -1}, {"batch_size": 0}, {"lr": 0}, {"weight_decay": -1}, {"warmup": 1}, {"clip": 0}, {"ema": 1}, {"seed": -1},
    {"seed": 2**32}, {"epoch": 3},
])
def test_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        TrainSettings(**wrong)  # type: ignore[arg-type]


def test_plain_data_and_back() -> None:
    settings = TrainSettings(epochs=3, augment=False)
    assert TrainSettings(**settings.model_dump()) == settings


def test_the_largest_seed_fits_torch() -> None:
    torch.Generator().manual_seed(TrainSettings(seed=2**32 - 1).seed * 100_003 + 10_000)
