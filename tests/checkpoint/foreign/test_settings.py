from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tadshrink.checkpoint.foreign.presets import PRESETS, THUMOS_CLASSES
from tadshrink.checkpoint.foreign.settings import AS_IS, FIELDS, LoadSettings, class_names, parse_sets, read_settings_yaml
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, PostprocessConfig


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("heads=3", "heads", 3), (" heads = 3 ", "heads", 3), ("attention_window=-1", "attention_window", -1),
        ("absolute_position=true", "absolute_position", True), ("rounded=false", "rounded", False), ("dropped=4,9", "dropped", (4, 9)),
        ("dropped=[4, 9]", "dropped", (4, 9)), ("dropped=4", "dropped", (4,)), ("dropped=[]", "dropped", ()), ("nms=none", "nms", "none"),
        ("overlap=0.25", "overlap", 0.25), ("regression_ranges=[[0,4],[4,9]]", "regression_ranges", ((0, 4), (4, 9))),
        ("classes=[a, b]", "classes", ("a", "b")), ("classes=a, b", "classes", ("a", "b")), ("classes=names.txt", "classes", "names.txt"),
        ("weights=raw", "weights", "raw"), ("preset=pbd-thumos-videomae-s", "preset", "pbd-thumos-videomae-s"),
    ],
)  # fmt: skip
def test_values_on_the_command_line(pair: str, key: str, value: Any) -> None:
    assert parse_sets([pair]).given() == {key: value}


def test_all_problems_are_told_together() -> None:
    with pytest.raises(UserError) as caught:
        parse_sets(["haeds=3", "heads", "window=x", "weights=best", "mode=", "depth=0", "depth=3", "preset=adatad-thumos", "dropped=-1",
                    "overlap=[1", "frame_size=2.5"])
    line = str(caught.value)
    for part in ("no setting is called haeds (did you mean heads?)", "heads is not KEY=VALUE", "mode= is not KEY=VALUE", "depth is given twice",
                 "no preset is called adatad-thumos (did you mean adatad-thumos-", "window: ", "weights: ", "dropped.0: ",
                 "overlap: [1 is not a value", "frame_size: ", "Known settings: score_threshold, "):
        assert part in line
    assert "\n" not in line


def test_what_was_given_first_counts() -> None:
    both = LoadSettings(heads=3).over(LoadSettings(heads=4, window=64))
    assert both.given() == {"heads": 3, "window": 64}


def test_a_yaml_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("run\njump\n\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("heads: 3\ndropped: [4, 9]\nclasses: names.txt\n", encoding="utf-8")
    settings = read_settings_yaml(tmp_path / "a.yaml")
    assert settings.given() == {"heads": 3, "dropped": (4, 9), "classes": str(tmp_path / "names.txt")}
    assert class_names(settings.classes) == ("run", "jump")
    (tmp_path / "a.yaml").write_text("# nothing\n", encoding="utf-8")
    assert read_settings_yaml(tmp_path / "a.yaml") == AS_IS


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("heads: [", "not valid YAML: "), ("- 1", "not a list of KEY: VALUE lines"), ("haeds: 3", "no setting is called haeds"),
        ("heads: !!python/object:os.system x", "not valid YAML: "), ("3: 4", "no setting is called 3"),
        ("heads: " + "9" * 5000, "not valid YAML"),
    ],
)  # fmt: skip
def test_a_bad_yaml_file(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_settings_yaml(tmp_path / "a.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'a.yaml'}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("names", [("a", "a"), (), (" ",)])
def test_bad_class_names(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="class name"):
        class_names(names)


def test_every_setting_goes_into_the_architecture_or_is_about_the_file() -> None:
    config = DetectorConfig(classes=("a",))
    assert set(LoadSettings.model_fields) - set(FIELDS) == {"weights", "preset", "depth", "dropped", "classes"}
    for section, key in FIELDS.values():
        assert hasattr(getattr(config, section), key)
    assert set(PostprocessConfig.model_fields) < set(LoadSettings.model_fields)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_made_of_valid_settings(name: str) -> None:
    settings = LoadSettings.parse(PRESETS[name].settings, name)
    config = DetectorConfig(classes=("a",))
    for key, value in settings.given().items():
        if key in FIELDS:
            section, field = FIELDS[key]
            assert type(getattr(config, section)).model_validate({field: value} | ({"variant": "opentad"} if section == "head" else {}))


def test_thumos_has_twenty_classes_in_order() -> None:
    assert len(THUMOS_CLASSES) == 20
    assert sorted(THUMOS_CLASSES) == list(THUMOS_CLASSES)


@pytest.mark.parametrize("pair", ["nms_sigma=-1", "nms_sigma=0", "pre_nms_top_k=-5", "max_detections=-1", "nms_iou=1.5", "voting_iou=-0.1"])
def test_numbers_of_nms_have_limits(pair: str) -> None:
    with pytest.raises(UserError, match=f"{pair.partition('=')[0]}: Input should be"):
        parse_sets([pair])
