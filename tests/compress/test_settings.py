from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tadshrink.compress.settings import AlignSettings
from tadshrink.run_settings import read_recipe, run_settings

RECIPES = Path(__file__).parents[2] / "sample_configs"
#: Recipe -> some of what was published for it.
PUBLISHED = {
    "thumos14-videomae-s": ("3", {"rank": 96, "epochs": 60, "early_epochs": None, "batch_size": 2, "teacher": "static", "lr": 1e-4}),
    "thumos14-videomae-l": ("6", {"rank": 256, "epochs": 60, "early_epochs": None, "batch_size": 2, "teacher": "static", "lr": 1e-4}),
    "activitynet-videomae-s": ("3", {"rank": 96, "epochs": 15, "early_epochs": 8, "batch_size": 16, "teacher": "previous", "lr": 1e-4}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_of_the_published_settings(name: str) -> None:
    target, wanted = PUBLISHED[name]
    settings = run_settings(read_recipe(RECIPES / f"{name}.yaml"))
    assert settings.target == target
    assert {key: getattr(settings.align, key) for key in wanted} == wanted
    align = settings.align
    assert (align.alpha, align.temperature, align.weight_decay, align.checkpointing) == (None, 3.5, 0.05, "blocks")
    assert (align.mid_weight, align.relation_weight, align.feature_weight) == (0, 0, 1)


def test_every_weight_of_a_loss_is_in_the_recipes() -> None:
    weights = {name for name in AlignSettings.model_fields if name.endswith("_weight")}
    for name in PUBLISHED:
        assert weights <= read_recipe(RECIPES / f"{name}.yaml")["align"].keys()


@pytest.mark.parametrize(("number", "epochs", "subset"), [(1, 2, 0.5), (2, 2, 0.5), (3, 6, 1.0), (4, 6, 1.0), (5, 6, 1.0)])
def test_the_first_half_of_the_drops_may_train_shorter_and_on_less(number: int, epochs: int, subset: float) -> None:
    settings = AlignSettings(epochs=6, early_epochs=2, subset=0.5).for_drop(number, 5)
    assert (settings.epochs, settings.subset) == (epochs, subset)


def test_without_other_wishes_every_drop_trains_alike() -> None:
    assert all(AlignSettings().for_drop(number, 4) == AlignSettings() for number in range(1, 5))


@pytest.mark.parametrize(("given", "repeats"), [({}, False), ({"augment": False}, True), ({"fixed_windows": True}, True),
                                                ({"augment": False, "fixed_windows": False}, False)])
def test_windows_come_again_when_nothing_is_random(given: dict[str, bool], repeats: bool) -> None:
    assert AlignSettings(**given).repeats == repeats


def test_layers_may_be_written_as_a_list_or_with_commas() -> None:
    assert AlignSettings(lora_targets="qkv, fc1").lora_targets == AlignSettings(lora_targets=["qkv", "fc1"]).lora_targets == ("qkv", "fc1")


@pytest.mark.parametrize("wrong", [{"lora_targets": ""}, {"lora_targets": "qkv,qkv"}, {"lora_targets": "gate"}, {"subset": 0}, {"subset": 1.1},
                                   {"heal": "magic"}, {"init": "luck"}, {"dtype": "int8"}, {"accumulate": 0}, {"teacher_memory": -1},
                                   {"lr": float("inf")},
                                   {"feature_weight": 0, "cls_kd_weight": 0, "reg_kd_weight": 0, "task_weight": 0}])
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlignSettings(**wrong)


@pytest.mark.parametrize(("align", "heals"), [({}, True), ({"heal": "none"}, False), ({"heal": "none", "init": "linear"}, True)])
def test_a_head_start_alone_is_an_alignment_too(align: dict[str, str], heals: bool) -> None:
    assert AlignSettings(**align).heals == heals
