from __future__ import annotations

import pytest
import torch
from torch import nn

from tadshrink.errors import UserError
from tadshrink.recognition.config import RecogniserConfig, SfcConfig
from tadshrink.recognition.recogniser import MODULE, ActionRecogniser, build_recogniser, with_module
from tests.recognition.models import SLOW_ONLY, VIT, clips, made

KINDS = [(VIT, "block:0"), (VIT, "block:1"), (SLOW_ONLY, "res3"), (SLOW_ONLY, "res4")]


def identity(config: RecogniserConfig, split: str) -> ActionRecogniser:
    """With a module that changes nothing."""
    recogniser = made(config, SfcConfig(split=split, ratio=1, pool="none", kernel=(1, 1, 1), width=32))
    recogniser.sfc.temperature.data.fill_(1e7)
    return recogniser


@pytest.mark.parametrize(("config", "split"), KINDS)
def test_views_are_classified_alone_and_without_the_module(config: RecogniserConfig, split: str) -> None:
    plain, views = made(config), clips(config, 3, batch=2)
    logits = plain(views)
    assert logits.shape == (2, 3, 3)
    torch.testing.assert_close(logits[1, 2], plain(views[1:, 2:])[0, 0])
    assert torch.equal(with_module(plain, SfcConfig(split=split))(views), logits)
    assert logits.std() > 0.01


@pytest.mark.parametrize(("config", "split"), KINDS)
def test_pixels_are_normalised_as_configured(config: RecogniserConfig, split: str) -> None:
    views = clips(config, 1)
    shifted = made(config.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}))
    pixels = (views[:, 0] - torch.tensor(config.mean).view(3, 1, 1, 1)) / torch.tensor(config.std).view(3, 1, 1, 1)
    torch.testing.assert_close(shifted.cls_head(shifted.backbone.tail(shifted.backbone.head(pixels, 0), 0)), made(config)(views)[:, 0])


@pytest.mark.parametrize("split", ["block:0", "block:1", "block:2"])
def test_with_an_identity_module_the_pass_equals_the_views_of_a_vit(split: str) -> None:
    recogniser, views = identity(VIT, split), clips(VIT, 4, batch=2)
    features = recogniser.clip_features(views)
    assert torch.equal(recogniser.sfc(features), features)
    torch.testing.assert_close(recogniser.compress(views), recogniser(views).mean(1), rtol=1e-6, atol=1e-6)
    assert torch.equal(recogniser.compress(views[:, :1]), recogniser(views[:, :1])[:, 0])


@pytest.mark.parametrize("split", ["res2", "res3", "res4", "res5"])
def test_with_an_identity_module_the_pass_equals_the_plain_path_of_a_slow_only(split: str) -> None:
    recogniser, views = identity(SLOW_ONLY, split), clips(SLOW_ONLY, 4, batch=2)
    features = recogniser.clip_features(views)
    assert torch.equal(recogniser.sfc(features), features)
    assert torch.equal(recogniser.compress(views), recogniser.tail(features))
    assert torch.equal(recogniser.compress(views[:, :1]), recogniser(views[:, :1])[:, 0])
    if split == "res5":
        torch.testing.assert_close(recogniser.compress(views), recogniser(views).mean(1), rtol=1e-5, atol=1e-6)


def test_features_are_joined_in_the_order_of_time() -> None:
    recogniser, views = made(SLOW_ONLY, SfcConfig(split="res3", ratio=0.5)), clips(SLOW_ONLY, 4, batch=2)
    features = recogniser.clip_features(views)
    assert features.shape == (2, 32, 12, 4, 4)
    assert torch.equal(features[:, :, 6:9], recogniser.head(views[:, 2]))
    torch.testing.assert_close(recogniser.clip_features(views, at_once=3), features)
    torch.testing.assert_close(recogniser.compress(views, at_once=4), recogniser.compress(views))
    assert recogniser.sfc(features).shape == (2, 32, 6, 4, 4)
    assert torch.equal(recogniser.compress(views), recogniser.finish_clips(features))


def test_without_a_module_there_is_no_pass() -> None:
    with pytest.raises(UserError, match="no compressing module"):
        made(VIT).compress(clips(VIT, 2))


@pytest.mark.parametrize(("config", "split"), KINDS)
def test_training_changes_the_module_alone(config: RecogniserConfig, split: str) -> None:
    recogniser = made(config, SfcConfig(split=split, ratio=0.5))
    recogniser.freeze()
    recogniser.train()
    before = {name: value.clone() for name, value in recogniser.state_dict().items()}
    optimizer = torch.optim.AdamW([value for value in recogniser.parameters() if value.requires_grad], lr=0.1)
    views = clips(config, 3, batch=2)
    assert torch.equal(recogniser(views), recogniser(views)), "dropout or stochastic depth is on"
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(recogniser.compress(views), torch.tensor([0, 2])).backward()
        optimizer.step()
    reached = {name for name, value in recogniser.named_parameters() if value.grad is not None and bool(value.grad.any())}
    assert reached == {name for name, _ in recogniser.named_parameters() if name.startswith(MODULE)}
    changed = {name for name, value in recogniser.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith(MODULE)}, "batch-norm statistics included"


def test_training_without_a_module_is_of_everything() -> None:
    recogniser = made(SLOW_ONLY)
    recogniser.freeze()
    recogniser.train()
    assert recogniser.backbone.training and recogniser.cls_head.dropout.training
    assert all(value.requires_grad for value in recogniser.parameters())


def test_blocks_can_be_dropped_before_and_after_the_module_is_added() -> None:
    torch.manual_seed(0)
    dropped, sfc, views = ActionRecogniser(VIT, (1, "2.mlp")).eval(), SfcConfig(split="block:1", ratio=0.5), clips(VIT, 2)
    recogniser = with_module(dropped, sfc)
    assert recogniser.blocks.left == {0: ("attention", "mlp"), 2: ("attention",)}
    assert torch.equal(recogniser(views), dropped(views))
    again = with_module(recogniser, SfcConfig(split="block:0"))
    assert again.config.sfc.split == "block:0" and torch.equal(again(views), dropped(views))
    recogniser.blocks.drop(0)
    assert recogniser.compress(views).shape == (1, 3)
    with pytest.raises(UserError, match="no blocks that can be dropped"):
        ActionRecogniser(SLOW_ONLY, (1,))


def test_building_is_strict() -> None:
    recogniser = made(SLOW_ONLY, SfcConfig(split="res2"))
    state = recogniser.state_dict()
    views = clips(SLOW_ONLY, 2)
    assert torch.equal(build_recogniser(recogniser.config, state, (), "a").compress(views), recogniser.compress(views))
    state["fc_cls.weight"] = state.pop("cls_head.fc_cls.weight")
    state["sfc.temperature"] = torch.ones(2)
    with pytest.raises(UserError) as caught:
        build_recogniser(recogniser.config, state, (), "a.pth")
    assert str(caught.value).startswith("a.pth: weights do not fit the architecture: 1 missing (cls_head.fc_cls.weight), 1 left over "
                                        "(fc_cls.weight), 1 of the wrong shape (sfc.temperature (2,) instead of ())")
