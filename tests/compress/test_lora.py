from __future__ import annotations

import math

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from tadshrink.compress.lora import INITS, add_lora, heal_parameters, load_lora, merged_copy, split_lora
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.student import make_student
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector, build_detector
from tadshrink.profiling.windows import example_window

QKV = "backbone.model.backbone.blocks.2.attn.qkv"


@pytest.fixture
def plain(tiny) -> Detector:
    return tiny.opened().detector


@pytest.fixture
def updated(tiny) -> Detector:
    """A detector whose updates are large enough to matter."""
    detector = tiny.opened().detector
    add_lora(detector, 4, 4.0, ("qkv", "proj"), seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, value in detector.named_parameters():
        if "lora_B" in name:
            value.data.normal_(0, 0.3, generator=generator)
    return detector.eval()


@torch.inference_mode()
def logits(detector: Detector) -> Tensor:
    return detector(*example_window(detector.config)).logits()


def test_adding_updates_changes_no_output(plain: Detector) -> None:
    before = logits(plain)
    add_lora(plain, 4, 4.0, ("qkv", "proj"), seed=0)
    # The product and the bias of qkv are added in two steps now, which rounds differently.
    torch.testing.assert_close(logits(plain.eval()), before, rtol=0, atol=1e-6)


def test_updates_are_on_qkv_and_proj_of_every_block_of_the_backbone_alone(plain: Detector) -> None:
    add_lora(plain, 4, 4.0, ("qkv", "proj"), seed=0)
    wrapped = {name for name, module in plain.named_modules() if isinstance(module, LoraLayer)}
    assert wrapped == {f"backbone.model.backbone.blocks.{block}.attn.{layer}" for block in range(4) for layer in ("qkv", "proj")}
    assert {name for name, value in plain.named_parameters() if value.requires_grad} == {
        f"{name}.{part}.default.weight" for name in wrapped for part in ("lora_A", "lora_B")}


def test_scale_is_alpha_over_rank_and_a_is_drawn_with_variance_one_over_rank(plain: Detector) -> None:
    add_lora(plain, 8, 8.0, ("qkv", "proj"), seed=0)
    layers = [module for module in plain.modules() if isinstance(module, LoraLayer)]
    assert {layer.scaling["default"] for layer in layers} == {1.0}
    down = torch.cat([layer.lora_A["default"].weight.flatten() for layer in layers])
    assert down.std().item() == pytest.approx(1 / 8, rel=0.1)
    assert all(not layer.lora_B["default"].weight.any() for layer in layers)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("init", INITS)
def test_every_start_leaves_the_outputs_trains_and_merges(plain: Detector, init: str, dora: bool) -> None:
    before = logits(plain)
    add_lora(plain, 4, 8.0, ("qkv", "proj", "layers.0.0", "layers.1"), 0, init, dora)
    torch.testing.assert_close(logits(plain.eval()), before, rtol=0, atol=1e-5)
    for name, value in plain.named_parameters():
        if ".lora_" in name:
            assert value.requires_grad
            value.data += 0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(logits(merged_copy(plain)), logits(plain), rtol=0, atol=1e-5)
    assert (logits(plain) - before).abs().max() > 1e-3


def test_what_dora_trains_is_kept_and_found_again(tiny, plain: Detector) -> None:
    add_lora(plain, 4, 4.0, ("qkv", "proj"), seed=0, dora=True)
    for name, value in plain.named_parameters():
        if ".lora_" in name:
            value.data += 0.1
    own, updates = split_lora(plain)
    assert f"{QKV}.lora_magnitude_vector.weight" in updates
    assert own.keys() == tiny.opened().detector.state_dict().keys()
    again = tiny.opened().detector
    load_lora(again, {"rank": 4, "alpha": 4.0, "targets": ["qkv", "proj"], "state": updates}, "a.pth")
    assert torch.equal(logits(again.eval()), logits(plain.eval()))


def test_the_published_start_is_wider_by_the_root_of_the_rank(plain: Detector) -> None:
    add_lora(plain, 16, 16.0, ("qkv", "proj"), 0, "published")
    down = torch.cat([layer.lora_A["default"].weight.flatten() for layer in plain.modules() if isinstance(layer, LoraLayer)])
    assert down.std().item() == pytest.approx(1 / 4, rel=0.1)


def test_rank_stabilised_updates_count_alpha_by_the_root_of_the_rank(plain: Detector) -> None:
    made = make_student(plain, AlignSettings(rank=16, alpha=8, rslora=True), None)
    layers = [module for module in plain.modules() if isinstance(module, LoraLayer)]
    assert {layer.scaling["default"] for layer in layers} == {8 / 16**0.5} == {made["alpha"] / made["rank"]}


def test_updates_from_some_block_on(tiny, plain: Detector) -> None:
    add_lora(plain, 4, 4.0, ("qkv", "proj"), seed=0, first=2)
    wrapped = {name.split(".")[4] for name, module in plain.named_modules() if isinstance(module, LoraLayer)}
    assert wrapped == {"2", "3"}
    _, updates = split_lora(plain)
    again = tiny.opened().detector
    load_lora(again, {"rank": 4, "alpha": 4.0, "targets": ["qkv", "proj"], "state": updates}, "a.pth")
    assert split_lora(again)[1].keys() == updates.keys()
    without = {name: value for name, value in updates.items() if ".3." not in name}
    with pytest.raises(UserError, match="LoRA weights do not fit the model: 4 are"):
        load_lora(tiny.opened().detector, {"rank": 4, "alpha": 4.0, "targets": ["qkv", "proj"], "state": without}, "a.pth")


def test_updates_depend_on_the_seed_alone_and_leave_the_callers_random_numbers(tiny) -> None:
    first, second, other = (tiny.opened().detector for _ in range(3))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    add_lora(first, 4, 4.0, ("qkv", "proj"), seed=1)
    assert torch.equal(torch.rand(1), expected)
    add_lora(second, 4, 4.0, ("qkv", "proj"), seed=1)
    add_lora(other, 4, 4.0, ("qkv", "proj"), seed=2)
    states = [split_lora(detector)[1] for detector in (first, second, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_split_gives_the_plain_names_and_the_updates(tiny, updated: Detector) -> None:
    own, updates = split_lora(updated)
    assert own.keys() == tiny.opened().detector.state_dict().keys()
    assert len(updates) == 4 * 2 * 2
    assert updates[f"{QKV}.lora_A.weight"].shape == (4, 16)
    assert updates[f"{QKV}.lora_B.weight"].shape == (48, 4)


def test_split_of_a_plain_model_has_no_updates(plain: Detector) -> None:
    own, updates = split_lora(plain)
    assert updates == {}
    assert own.keys() == plain.state_dict().keys()


def test_loading_what_was_split_gives_the_same_model(tiny, updated: Detector) -> None:
    _, updates = split_lora(updated)
    again = tiny.opened().detector
    load_lora(again, {"rank": 4, "alpha": 4.0, "targets": ["qkv", "proj"], "state": updates}, "a.pth")
    assert torch.equal(logits(again.eval()), logits(updated))


@pytest.mark.parametrize("spoil", ["missing", "left over", "shape"])
def test_updates_of_another_model_are_refused(tiny, updated: Detector, spoil: str) -> None:
    _, updates = split_lora(updated)
    name = f"{QKV}.lora_A.weight"
    updates |= {"shape": {name: torch.zeros(3, 16)}, "left over": {"other": torch.zeros(1)}, "missing": {}}[spoil]
    if spoil == "missing":
        del updates[name]
    with pytest.raises(UserError, match=r"a\.pth: LoRA weights do not fit the model: 1 are"):
        load_lora(tiny.opened().detector, {"rank": 4, "alpha": 4.0, "targets": ["qkv", "proj"], "state": updates}, "a.pth")


@pytest.mark.parametrize("targets", [[], ["qkv", "gate"]])
def test_updates_of_layers_that_are_not_there_are_refused(plain: Detector, targets: list[str]) -> None:
    with pytest.raises(UserError, match=r"a\.pth: LoRA is for layers that the model does not have \((gate|none is named)\)"):
        load_lora(plain, {"rank": 4, "alpha": 4.0, "targets": targets, "state": {}}, "a.pth")


def test_merged_copy_equals_the_unmerged_model_and_leaves_it_untouched(updated: Detector) -> None:
    before = {name: value.clone() for name, value in updated.state_dict().items()}
    want = logits(updated)
    merged = merged_copy(updated)
    torch.testing.assert_close(logits(merged), want, rtol=0, atol=1e-5)
    assert not any(isinstance(module, LoraLayer) for module in merged.modules())
    assert updated.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in updated.state_dict().items())
    assert torch.equal(logits(updated), want)


def test_merging_adds_the_product_to_the_weight(updated: Detector) -> None:
    own, updates = split_lora(updated)
    merged = merged_copy(updated).state_dict()
    assert merged.keys() == own.keys()
    for name in ("qkv", "proj"):
        layer = QKV.replace("qkv", name)
        change = updates[f"{layer}.lora_B.weight"] @ updates[f"{layer}.lora_A.weight"]
        torch.testing.assert_close(merged[f"{layer}.weight"], own[f"{layer}.weight"] + change)
    touched = {name for name, value in merged.items() if not torch.equal(value, own[name])}
    assert len(touched) == 8


def test_updates_matter(tiny, updated: Detector) -> None:
    assert math.isfinite(logits(updated).sum().item())
    assert (logits(updated) - logits(tiny.opened().detector)).abs().max() > 1e-3


def test_updates_of_the_stem_of_a_detector_on_features() -> None:
    config = DetectorConfig(
        classes=("a", "b"), backbone=FeatureConfig(channels=6), sampling=SamplingConfig(window=8),
        head=HeadConfig(width=8, heads=2, levels=2, regression_ranges=((0, 4), (4, 99))))
    torch.manual_seed(0)
    detector = Detector(config).eval()
    targets = ["query", "key", "value", "proj"]
    add_lora(detector, 2, 2.0, targets, seed=0)
    trained = {name for name, value in detector.named_parameters() if value.requires_grad}
    assert trained == {f"projection.stem.{block}.attn.{layer}.{part}.default.weight" for block in range(2)
                       for layer in ("query", "key", "value", "proj") for part in ("lora_A", "lora_B")}
    for name in trained:
        torch.nn.init.normal_(detector.get_parameter(name))
    merged = merged_copy(detector.eval())
    assert not any(isinstance(module, LoraLayer) for module in merged.modules())
    torch.testing.assert_close(logits(merged), logits(detector), atol=1e-4, rtol=1e-4)
    own, updates = split_lora(detector)
    assert own.keys() == Detector(config).state_dict().keys()
    assert own["projection.stem.0.attn.query.weight"].shape == (8, 8, 1)
    again = build_detector(config, own, (), "a.pth")
    load_lora(again, {"rank": 2, "alpha": 2.0, "targets": targets, "state": updates}, "a.pth")
    assert torch.equal(logits(again.eval()), logits(detector))
    healed = {id(value) for value in heal_parameters(detector)}
    names = {name for name, value in detector.named_parameters() if id(value) in healed}
    assert "projection.stem.0.ln1.weight" in names and "projection.branch.0.attn.query.weight" in names
    assert not any("base_layer" in name or name.startswith("projection.stem.0.mlp") for name in names)
