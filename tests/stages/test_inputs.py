from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tadshrink.data.datasets import Dataset, load_dataset
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig, SamplingConfig
from tadshrink.reporting import SILENT
from tadshrink.stages.inputs import absent, check_dataset, check_files, check_splits, data_state, fit_dataset, named_classes, without_absent

MODEL = DetectorConfig(classes=("x", "y"), backbone=FeatureConfig(channels=3), sampling=SamplingConfig(mode="whole", offset_frames=8))
#: The same, in the words of a dataset YAML.
SETTINGS = "mode: whole\noffset_frames: 8\n"


@pytest.fixture
def features(tmp_path: Path) -> Callable[..., Dataset]:
    """Datasets of features with 3 channels: two training videos, of which one is held out, and no test video."""
    def make(text: str = SETTINGS, classes: str = "[x, y]") -> Dataset:
        (tmp_path / "feats").mkdir(exist_ok=True)
        item = {"subset": "training", "duration": 4, "fps": 10, "annotations": [{"segment": [1, 2], "label": "x"}]}
        # By their names, v0 is held out and v1 is not.
        (tmp_path / "a.json").write_text(json.dumps({"database": {"v0": item, "v1": item}}))
        np.save(tmp_path / "feats" / "v0.npy", np.zeros((10, 3)))
        (tmp_path / "d.yaml").write_text(f"name: toy\nannotations: a.json\nfeatures: feats\nclasses: {classes}\n{text}")
        return load_dataset(tmp_path / "d.yaml")

    return make


def test_a_dataset_that_fits(features: Callable[..., Dataset], tiny) -> None:
    check_dataset(features(), MODEL, "here")
    check_dataset(tiny.data, tiny.config, "here")


@pytest.mark.parametrize(("text", "message"), [
    ("mode: sliding\noffset_frames: 8\n", r"mode sliding \(model: whole\)"),
    ("mode: whole\nsnippet_stride: 2\n", r"snippet_stride 2 \(model: 4\); offset_frames 0.0 \(model: 8.0\)"),
    (SETTINGS + "transposed: true\n", "the features have 10 channels, and the model takes 3.*'transposed'"),
])
def test_features_that_do_not_fit(features: Callable[..., Dataset], text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"here: .*{message}"):
        check_dataset(features(text), MODEL, "here")


def test_settings_of_videos_do_not_matter_for_features(features: Callable[..., Dataset]) -> None:
    other = MODEL.sampling.model_copy(update={"frame_size": 7, "frames_per_cell": 3})
    check_dataset(features(), MODEL.model_copy(update={"sampling": other}), "here")


def test_videos_for_a_model_on_features_and_the_reverse(features: Callable[..., Dataset], tiny) -> None:
    with pytest.raises(UserError, match="here: the dataset has videos, and the model takes features"):
        check_dataset(tiny.data, MODEL, "here")
    with pytest.raises(UserError, match="here: the dataset has features, and the model takes videos"):
        check_dataset(features(), tiny.config, "here")
    with pytest.raises(UserError, match="toy: the dataset has features, and the model takes videos"):
        fit_dataset(tiny.config, features())


def test_an_architecture_is_fitted_to_a_dataset(features: Callable[..., Dataset]) -> None:
    fitted = fit_dataset(DetectorConfig(classes=("x", "y"), backbone=FeatureConfig(channels=1)), features(SETTINGS + "window: 64\n"))
    assert fitted.backbone == FeatureConfig(channels=3)
    assert fitted.sampling == SamplingConfig(mode="whole", offset_frames=8, window=64)


def test_placeholders_become_the_datasets_class_names(features: Callable[..., Dataset], interrupt) -> None:
    nameless, reporter = MODEL.model_copy(update={"classes": ("class 0", "class 1")}), interrupt()
    assert named_classes(nameless, features(), "here", reporter) == MODEL
    assert reporter.notes == ["the model has no class names: those of dataset 'toy' are taken, in their order"]
    with pytest.raises(UserError, match="here: the dataset has 1 classes, and the model 2 without names"):
        named_classes(nameless, features(classes="[x]"), "here", SILENT)


@pytest.mark.parametrize("classes", [("x", "y"), ("y", "x"), ("class 0", "y")])
def test_names_that_a_model_has_are_kept(features: Callable[..., Dataset], interrupt, classes: tuple[str, ...]) -> None:
    reporter = interrupt()
    assert named_classes(MODEL.model_copy(update={"classes": classes}), features(), "here", reporter).classes == classes
    assert reporter.notes == []


def test_missing_features_are_named_with_the_keys_to_correct(features: Callable[..., Dataset]) -> None:
    check_splits(features(), ["heldout"])
    message = r"feats: 1 of the 1 features of split 'train' are not here \(v1\).*'features', 'prefix' or 'feature_extension' .*--allow-missing"
    with pytest.raises(UserError, match=message):
        check_splits(features(), ["train"])


def test_the_state_of_a_dataset_changes_with_configuration_annotations_and_videos(tiny, tmp_path: Path) -> None:
    first = data_state(tiny.data)
    assert first == data_state(load_dataset(tiny.yaml))
    data = tiny.data
    other = data_state(replace(data, config=data.config.model_copy(update={"heldout": 0.3})))
    assert {key for key in first if first[key] != other[key]} == {"config"}
    other = data_state(replace(data, records=data.records[1:]))
    assert {key for key in first if first[key] != other[key]} == {"annotations", "videos"}
    shorter = (replace(data.records[0], actions=data.records[0].actions[1:]), *data.records[1:])
    other = data_state(replace(data, records=shorter))
    assert {key for key in first if first[key] != other[key]} == {"annotations"}
    other = data_state(replace(data, root=tmp_path))
    assert {key for key in first if first[key] != other[key]} == {"videos"}


def test_the_state_of_features_changes_with_their_files(features: Callable[..., Dataset]) -> None:
    first = data_state(features())
    assert first.keys() == {"config", "annotations", "features"}
    data = features()
    np.save(data.folders[0] / "v1.npy", np.zeros((10, 3)))
    other = data_state(data)
    assert {key for key in first if first[key] != other[key]} == {"features"}
    # As many numbers, so that the file is as large.
    np.save(data.folders[0] / "v1.npy", np.ones((10, 3)))
    assert data_state(data)["features"] != other["features"]


def test_absent_videos_are_left_out_on_demand_and_told(features: Callable[..., Dataset], interrupt) -> None:
    data, reporter = features(), interrupt()
    kept = without_absent(data, reporter)
    assert [record.name for record in kept.records] == ["v0"]
    assert reporter.notes == ["skipped: 1 of the 2 features of 'training' are not here (v1)"]
    assert without_absent(kept, SILENT) == kept
    assert data_state(kept) != data_state(data)
    (data.folders[0] / "v0.npy").unlink()
    with pytest.raises(UserError, match=r"feats: all 2 features are not here \(v0, v1\).*'features', 'prefix' or 'feature_extension'"):
        without_absent(data, SILENT)


def test_a_video_is_absent_if_one_of_its_streams_is(features: Callable[..., Dataset], tmp_path: Path) -> None:
    data = features()
    (tmp_path / "flow").mkdir()
    both = replace(data, config=data.config.model_copy(update={"features": ("feats", "flow")}))
    assert [record.name for record in absent(both, both.records)] == ["v0", "v1"]
    np.save(tmp_path / "flow" / "v0.npy", np.zeros((10, 2)))
    assert [record.name for record in absent(both, both.records)] == ["v1"]


def test_where_a_folder_is_missing_the_source_of_the_data_is_named(features: Callable[..., Dataset], tmp_path: Path) -> None:
    data = features("source: A letter to the authors.\n" + SETTINGS)
    with pytest.raises(UserError, match="Add them, correct"):
        check_files(data, ["train"])
    other = replace(data, config=data.config.model_copy(update={"features": "elsewhere"}))
    with pytest.raises(UserError, match=r"toy is looked for in .*\(a\.json, elsewhere/NAME\.npy\).*--root.*A letter to the authors"):
        check_files(other, ["train"])
