from __future__ import annotations

import pytest
import torch
from torch import nn

from tadshrink.training.ema import Ema


def model(*values: float) -> nn.Module:
    layer = nn.Linear(len(values), 1)
    layer.weight.data = torch.tensor([values])
    layer.bias.requires_grad_(False)
    return layer


def test_by_hand_with_the_smaller_decay_of_early_steps() -> None:
    layer = model(0.0)
    ema = Ema(layer, 0.999)
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, -3.0]):
        layer.weight.data.fill_(value)
        ema.update()
        # 1/10, 2/11, 3/12
        decay = (1 + step) / (10 + step)
        expected = decay * expected + (1 - decay) * value
        assert ema.average["weight"].item() == pytest.approx(expected, rel=1e-6)
    # 0.9; then 2/11 * 0.9 + 9/11 * 2 = 1.8; then 1/4 * 1.8 - 3/4 * 3 = -1.8
    assert expected == pytest.approx(-1.8)


def test_the_given_decay_is_the_limit() -> None:
    layer = model(0.0)
    ema = Ema(layer, 0.5)
    ema.updates = 1000
    layer.weight.data.fill_(4.0)
    ema.update()
    assert ema.average["weight"].item() == 2.0
    follows = Ema(layer, 0.0)
    layer.weight.data.fill_(7.0)
    follows.update()
    assert follows.average["weight"].item() == 7.0


def test_only_trainable_parameters_are_averaged() -> None:
    assert list(Ema(model(1.0), 0.9).average) == ["weight"]


def test_apply_changes_the_model_and_update_does_not() -> None:
    layer = model(1.0, 5.0)
    ema = Ema(layer, 0.9)
    layer.weight.data += 1
    ema.update()
    assert layer.weight.tolist() == [[2.0, 6.0]]
    ema.apply()
    # 0.1 of the old, 0.9 of the new.
    assert layer.weight[0].tolist() == pytest.approx([1.9, 5.9])
    assert layer.weight.requires_grad


def test_state_comes_back() -> None:
    layer = model(1.0)
    ema = Ema(layer, 0.9)
    layer.weight.data += 1
    ema.update()
    other = Ema(model(0.0), 0.9)
    other.load(ema.state())
    assert other.updates == 1
    assert torch.equal(other.average["weight"], ema.average["weight"])
    assert other.average["weight"] is not ema.average["weight"]
