"""The datasets that come with the package, in folders as they are expected."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tadshrink.checkpoint.foreign.presets import ADATAD_ANET, ADATAD_THUMOS, THUMOS_CLASSES
from tadshrink.data.datasets import builtin_names, load_dataset, read_dataset_config
from tadshrink.errors import UserError
from tests.notes import Notes

REAL = ["activitynet-1.3", "epic-kitchens-100", "epic-kitchens-100-noun", "fineaction", "multithumos", "thumos14"]


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def database(label: str, *splits: str) -> dict[str, Any]:
    return {"database": {f"v{number}": {"subset": split, "duration": 9.0, "annotations": [{"segment": [1, 2], "label": label}]}
                         for number, split in enumerate(splits)}}


def epic(root: Path, kind: str) -> None:
    folder = root / "epic_kitchens-100" / "annotations"
    for split in ("train", "validation"):
        write(folder / f"EPIC_100_{split}.csv", "video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n"
              f"{split},00:00:01.0,00:00:02.0,1,1\n")
    write(folder / "EPIC_100_video_info.csv", "video_id,duration,fps\ntrain,9,50\nvalidation,9,50\n")
    write(folder / f"EPIC_100_{kind}_classes.csv", "id,key\n0,a\n1,b\n")


#: Makes a toy of each dataset below a root.
MAKERS = {
    "thumos14": lambda root: write(root / "thumos-14/annotations/thumos_14_anno.json", database("HighJump", "training", "validation")),
    "multithumos": lambda root: (write(root / "multithumos/annotations/multithumos_anno.json", database("Run", "training", "validation")),
                                 write(root / "multithumos/annotations/category_idx.txt", "Jump\nRun\n")),
    "fineaction": lambda root: (write(root / "fineaction/annotations/annotations_gt.json", database("Run", "training", "validation")),
                                write(root / "fineaction/annotations/category_idx.txt", "Jump\nRun\n")),
    "activitynet-1.3": lambda root: (write(root / "activitynet-1.3/annotations/activity_net.v1-3.min.json",
                                           database("BMX", "training", "validation", "training", "testing")),
                                     write(root / "activitynet-1.3/annotations/blocked.json", ["v2"])),
    "epic-kitchens-100": lambda root: epic(root, "verb"),
    "epic-kitchens-100-noun": lambda root: epic(root, "noun"),
}


def test_all_are_here() -> None:
    assert builtin_names() == sorted([*REAL, "synthetic"])


@pytest.mark.parametrize("name", REAL)
def test_nothing_there_is_one_message_that_says_what_where_and_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as caught:
        load_dataset(name, tmp_path)
    config, folder = read_dataset_config(name, tmp_path)
    for part in (str(folder / config.annotations), *config.folders, "--root", config.source):
        assert " ".join(str(part).split()).rstrip(".") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", REAL)
def test_the_expected_folders_load(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    notes = Notes()
    dataset = load_dataset(name, tmp_path, notes)
    train, test = (dataset.config.splits.train, dataset.config.splits.test)
    assert {record.subset for record in dataset.records} >= {train, test} == {"training", "validation"}
    assert [record.subset for record in dataset.split("testing" if name != "activitynet-1.3" else "test")] == ["validation"]
    assert all(record.actions for record in dataset.records)
    assert isinstance(dataset.classes, tuple)
    assert dataset.config.tiou[0] in (0.1, 0.3, 0.5)


def test_videos_of_activitynet(tmp_path: Path) -> None:
    MAKERS["activitynet-1.3"](tmp_path)
    notes = Notes()
    dataset = load_dataset("activitynet-1.3", tmp_path, notes)
    assert [record.name for record in dataset.records] == ["v0", "v1", "v3"]
    assert "blocked videos: 1 listed, 1 of them in the annotations" in notes.lines
    assert dataset.files(dataset.records[0]) == [tmp_path / "activitynet-1.3/raw_data/Anet_videos_15fps_short256/v_v0.mp4"]
    assert len(dataset.classes) == 200
    assert dataset.classes[:4] == ("Applying sunscreen", "Arm wrestling", "Assembling bicycle", "BMX")


def test_sampling_is_that_of_the_presets_for_checkpoints() -> None:
    for name, preset in (("thumos14", ADATAD_THUMOS), ("multithumos", ADATAD_THUMOS), ("activitynet-1.3", ADATAD_ANET)):
        sampling = read_dataset_config(name)[0].sampling
        assert sampling == {key: preset[key] for key in sampling}
    assert read_dataset_config("thumos14")[0].classes == THUMOS_CLASSES


def test_labels_of_epic_kitchens(tmp_path: Path) -> None:
    MAKERS["epic-kitchens-100-noun"](tmp_path)
    dataset = load_dataset("epic-kitchens-100-noun", tmp_path)
    assert (dataset.classes, dataset.records[0].actions[0].label) == (("a", "b"), "b")


@pytest.mark.parametrize("name", ["multithumos", "fineaction"])
def test_a_missing_list_of_classes_is_never_invented(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    next(tmp_path.glob("*/annotations/category_idx.txt")).unlink()
    with pytest.raises(UserError, match=r"category_idx\.txt: no list of classes here"):
        load_dataset(name, tmp_path)


def test_names_of_activitynet_are_the_published_ones() -> None:
    from tests.checkpoint.reference_files import shared_golden

    golden = shared_golden()
    if golden is None or not (path := golden.parents[1] / "data" / "activitynet13" / "action_name.csv").is_file():
        pytest.skip("the published list is not here")
    assert [row[0] for row in csv.reader(path.open())][1:] == list(read_dataset_config("activitynet-1.3")[0].classes)
