from __future__ import annotations

import pytest
import torch
from torch import nn

from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from tadshrink.training.settings import TrainSettings

SETTINGS = TrainSettings(lr=0.1, warmup=0.2, weight_decay=0.3)


def test_learning_rate_by_hand() -> None:
    # 10 steps, 2 of warm-up, then cos over 8: at a quarter (step 4) (1 + 0.7071) / 2, at a half (step 6) 1/2.
    found = [learning_rate(step, 10, SETTINGS) for step in range(10)]
    assert found[:3] == pytest.approx([0.05, 0.1, 0.1])
    assert found[4] == pytest.approx(0.0853553, abs=1e-7)
    assert found[6] == pytest.approx(0.05)
    assert found[8] == pytest.approx(0.0146447, abs=1e-7)
    assert found[2:] == sorted(found[2:], reverse=True)
    assert learning_rate(10, 10, SETTINGS) == pytest.approx(0.0)


def test_learning_rate_without_warmup_starts_at_the_peak() -> None:
    settings = SETTINGS.model_copy(update={"warmup": 0.0})
    assert [learning_rate(step, 4, settings) for step in range(2)] == [0.1, 0.1]
    assert learning_rate(0, 1, settings) == 0.1


def groups(model: nn.Module) -> dict[float, set[str]]:
    names = {id(value): name for name, value in model.named_parameters()}
    return {group["weight_decay"]: {names[id(value)] for value in group["params"]} for group in make_optimizer(model, SETTINGS).param_groups}


def test_matrices_decay_and_biases_and_norms_do_not() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Conv1d(3, 2, 1))
    assert groups(model) == {0.3: {"0.weight", "2.weight"}, 0.0: {"0.bias", "1.weight", "1.bias", "2.bias"}}


def test_what_is_frozen_is_left_out_and_an_empty_group_too() -> None:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.LayerNorm(3))
    model[1].requires_grad_(False)
    assert groups(model) == {0.3: {"0.weight"}}


def test_groups_of_a_detector() -> None:
    config = DetectorConfig(classes=("a",), backbone=BackboneConfig(width=8, depth=1, heads=2, table_size=32),
                            head=HeadConfig(width=4, heads=2, levels=2, regression_ranges=((0, 4), (4, 100))),
                            sampling=SamplingConfig(window=8, frames_per_cell=2, frame_size=32))
    detector = Detector(config)
    found = groups(detector)
    assert found[0.3] | found[0.0] == {name for name, _ in detector.named_parameters()}
    assert not any(word in name for name in found[0.3] for word in ("bias", "norm", "scale", ".ln"))
    assert all(name.endswith(".weight") for name in found[0.3])
    matrices = {name for name, value in detector.named_parameters() if value.ndim >= 2 and name.endswith(".weight")}
    assert found[0.3] == matrices


def test_set_learning_rate_reaches_every_group() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), SETTINGS)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    set_learning_rate(optimizer, 0.7)
    assert [group["lr"] for group in optimizer.param_groups] == [0.7, 0.7]


def test_decay_shrinks_only_what_decays() -> None:
    layer = nn.Linear(1, 1)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.ones_(layer.bias)
    optimizer = make_optimizer(layer, SETTINGS)
    for value in layer.parameters():
        value.grad = torch.zeros_like(value)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(1 - 0.1 * 0.3)
    assert layer.bias.item() == 1.0
