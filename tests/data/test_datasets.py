from __future__ import annotations

import json
from pathlib import Path

import pytest

from tadshrink.data.datasets import HELDOUT, Dataset, DatasetConfig, data_root, load_dataset, read_dataset_config
from tadshrink.data.synthetic import CLASSES, FPS, SIZE
from tadshrink.errors import UserError
from tests.notes import Notes

YAML = "name: toy\nannotations: a.json\nvideos: clips\nclasses: [x, y]\n"


def write(folder: Path, text: str = YAML, videos: int = 200, label: str = "x") -> Path:
    """A dataset YAML in ``folder`` with annotations of as many videos in 'training' and 3 in 'testing'."""
    names = [(f"v{number}", "training") for number in range(videos)] + [(f"t{number}", "testing") for number in range(3)]
    item = {"segment": [1, 2], "label": label}
    database = {name: {"subset": subset, "duration": 10, "annotations": [item]} for name, subset in names}
    (folder / "a.json").write_text(json.dumps({"database": database}))
    (folder / "d.yaml").write_text(text)
    return folder / "d.yaml"


def names(dataset: Dataset, split: str) -> list[str]:
    return [record.name for record in dataset.split(split)]


def test_a_yaml_and_where_its_videos_are(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, YAML + "extension: mkv\n"))
    assert dataset.classes == ("x", "y")
    record = dataset.split("test")[0]
    assert dataset.files(record) == [tmp_path / "clips" / "t0.mkv"]
    assert (dataset.config.window, dataset.config.snippet_stride, dataset.config.frames_per_cell, dataset.config.frame_size) == (768, 4, 1, 160)


def test_root_is_the_yaml_folder_the_yaml_says_or_the_caller_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.yaml").write_text(YAML + "root: data\n")
    (tmp_path / "e.yaml").write_text(YAML + "root: ~/data\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read_dataset_config(tmp_path / "d.yaml")[1] == tmp_path / "data"
    assert read_dataset_config(tmp_path / "e.yaml")[1] == tmp_path / "home" / "data"
    assert read_dataset_config(tmp_path / "d.yaml", tmp_path / "other")[1] == tmp_path / "other"


def test_heldout_and_train_share_the_training_videos(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path))
    train, heldout = names(dataset, "train"), names(dataset, HELDOUT)
    assert not set(train) & set(heldout)
    assert set(train) | set(heldout) == {f"v{number}" for number in range(200)}
    assert 20 <= len(heldout) <= 60
    assert names(dataset, "training") == train
    assert names(dataset, "testing") == names(dataset, "test") == ["t0", "t1", "t2"]


def test_heldout_does_not_move_when_videos_are_added(tmp_path: Path) -> None:
    small = set(names(load_dataset(write(tmp_path, videos=50)), HELDOUT))
    large = set(names(load_dataset(write(tmp_path, videos=300)), HELDOUT))
    assert small == large & {f"v{number}" for number in range(50)}
    # The choice is part of what a published number means: it must be the same everywhere, for ever.
    assert sorted(small, key=lambda name: int(name[1:]))[:6] == ["v0", "v7", "v8", "v11", "v12", "v16"]


def test_an_unknown_split_lists_those_present(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path))
    with pytest.raises(UserError, match=r"split 'tset' has no videos.*are: testing, training"):
        dataset.split("tset")
    with pytest.raises(UserError, match="split 'validation' has no videos"):
        dataset.split("validation")


def test_too_few_videos_to_hold_any_out(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, YAML + "heldout: 0.000001\n", videos=2))
    with pytest.raises(UserError, match=r"split 'heldout' has no videos.*change 'heldout' in the dataset YAML"):
        dataset.split(HELDOUT)


def test_all_errors_of_a_yaml_together(tmp_path: Path) -> None:
    path = write(tmp_path, "name: toy\nvideos: 3\nclasses: []\nheldout: 2\nwindow: 0\nclases: [x]\nsplits: {train: a, tset: b}\n")
    with pytest.raises(UserError) as caught:
        load_dataset(path)
    text = str(caught.value)
    assert "\n" not in text
    for key in ("annotations:", "videos:", "classes:", "heldout:", "window:", "clases:", "splits.tset:"):
        assert key in text
    assert str(path) in text


def test_a_class_twice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"classes: .*listed more than once: x"):
        load_dataset(write(tmp_path, YAML.replace("[x, y]", "[x, y, x]")))


@pytest.mark.parametrize(("text", "message"), [
    ("- a\n", "not a dataset YAML"),
    ("", "not a dataset YAML"),
    ("a: [1\n", "not valid YAML"),
    ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
])
def test_something_else_than_a_dataset(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_class(tmp_path: Path) -> None:
    path = write(tmp_path, label="z")
    with pytest.raises(UserError, match=r"video 'v0', annotation 0: label 'z' is not a class.*; video 'v1'.*\(and 200 more\).*x, y") as caught:
        load_dataset(path)
    assert "\n" not in str(caught.value)
    path.write_text(YAML + "ignored_labels: [z]\n")
    assert all(record.actions == () for record in load_dataset(path).records)


def test_no_such_dataset_or_annotations(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such dataset.*synthetic"):
        load_dataset("nowhere.yaml")
    path = write(tmp_path, YAML.replace("a.json", "b.json"))
    with pytest.raises(UserError, match=r"b\.json: no annotation file here.*'annotations' or 'root'"):
        load_dataset(path)


def test_a_builtin_that_is_not_made_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=rf"Run: tadshrink data make synthetic --root {tmp_path}"):
        load_dataset("synthetic", tmp_path)
    monkeypatch.setenv("TADSHRINK_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"Run: tadshrink data make synthetic$"):
        load_dataset("synthetic")


def test_the_builtin_agrees_with_its_maker(tmp_path: Path) -> None:
    config, root = read_dataset_config("synthetic", tmp_path)
    assert root == tmp_path / "synthetic"
    assert config.classes == CLASSES
    assert config.frame_size == SIZE
    assert config.window * config.snippet_stride >= 12 * FPS


def test_where_builtin_data_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("TADSHRINK_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert data_root() == Path("/home/me/.cache/tadshrink")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_root() == Path("/cache/tadshrink")
    monkeypatch.setenv("TADSHRINK_DATA", "~/data")
    assert data_root() == Path("/home/me/data")
    monkeypatch.setenv("TADSHRINK_DATA", "")
    assert data_root() == Path("/cache/tadshrink")


def test_a_config_cannot_be_changed() -> None:
    config = DatasetConfig(name="a", annotations="a", videos="a", classes=("x",))
    with pytest.raises(ValueError, match="frozen"):
        config.window = 3  # type: ignore[misc]


def test_classes_from_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, YAML.replace("[x, y]", "names.txt"))
    with pytest.raises(UserError, match=r"names\.txt: no list of classes here\. Correct 'classes' or 'root'"):
        load_dataset(path)
    (tmp_path / "names.txt").write_text("y\nx\n")
    assert load_dataset(path).classes == load_dataset(path).config.classes == ("y", "x")


@pytest.mark.parametrize("blocked", ["[v0, v3, ghost]", "blocked.json", "blocked.txt"])
def test_blocked_videos_are_left_out_and_counted(tmp_path: Path, blocked: str) -> None:
    (tmp_path / "blocked.json").write_text('["v0", "v3", "ghost"]')
    (tmp_path / "blocked.txt").write_text("v0\nv3\nghost\n")
    notes = Notes()
    dataset = load_dataset(write(tmp_path, YAML + f"blocked: {blocked}\n", videos=4), reporter=notes)
    assert [record.name for record in dataset.records] == ["v1", "v2", "t0", "t1", "t2"]
    assert "blocked videos: 3 listed, 2 of them in the annotations" in notes.lines


def test_odd_actions_are_kept_and_counted(tmp_path: Path) -> None:
    path, notes = write(tmp_path, videos=1), Notes()
    items = [{"segment": segment, "label": "x"} for segment in ([1, 2], [1, 2], [3, 3], [11, 12], [9, 11])]
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": {"subset": "training", "duration": 10, "annotations": items}}}))
    assert len(load_dataset(path, reporter=notes).records[0].actions) == 5
    assert notes.lines[-1] == ("odd actions, kept as they are: 1 duplicate, 1 zero length, 1 after the end of the video, "
                               "1 ends after the video; tadshrink data check names them")


def test_training_and_testing_mean_the_roles_where_the_file_calls_them_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, YAML + "splits: {train: Validation, test: Test}\n", videos=30)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace('"training"', '"Validation"').replace('"testing"', '"Test"'))
    dataset = load_dataset(path)
    assert names(dataset, "testing") == names(dataset, "Test") == names(dataset, "test") == ["t0", "t1", "t2"]
    assert names(dataset, "training") == names(dataset, "train") == names(dataset, "Validation")
    # A split that is really called so comes first.
    (tmp_path / "a.json").write_text(text.replace('"training"', '"Validation"'))
    assert names(load_dataset(path), "testing") == ["t0", "t1", "t2"]
    with pytest.raises(UserError, match="split 'test' has no videos"):
        load_dataset(path).split("test")


def test_several_streams_and_a_prefix(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, "name: toy\nannotations: a.json\nfeatures: [rgb, flow]\nprefix: v_\nclasses: [x]\nfps: 25\n"))
    record = dataset.split("test")[0]
    assert dataset.files(record) == [tmp_path / "rgb" / "v_t0.npy", tmp_path / "flow" / "v_t0.npy"]
    video = dataset.video(record)
    assert (video.path, video.more, video.fps) == (tmp_path / "rgb" / "v_t0.npy", (tmp_path / "flow" / "v_t0.npy",), 25)


def test_a_frame_rate_in_the_yaml_is_stronger_than_the_annotations(tmp_path: Path) -> None:
    """Features may come from videos that were re-encoded at another rate."""
    item = {"subset": "testing", "duration": 10, "fps": 60, "frame": 599}
    text = "name: toy\nannotations: a.json\nfeatures: f\nclasses: [x]\n"
    write(tmp_path, text)
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": item}}))
    dataset = load_dataset(tmp_path / "d.yaml")
    assert (dataset.video(dataset.records[0]).frames, dataset.video(dataset.records[0]).fps) == (599, 60)
    (tmp_path / "d.yaml").write_text(text + "fps: 30\n")
    dataset = load_dataset(tmp_path / "d.yaml")
    assert (dataset.video(dataset.records[0]).frames, dataset.video(dataset.records[0]).fps) == (None, 30)
