from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tadshrink.data.datasets import open_dataset
from tadshrink.errors import UserError
from tadshrink.stages.data_check import Checked, check_data
from tests.checkpoint.reference_files import shared_golden

#: 4 s at 10 frames per second; one feature per 2 frames.
YAML = "name: toy\nannotations: a.json\nfeatures: feats\nclasses: [x, y]\nsnippet_stride: 2\nfps: 10\nmode: whole\n"
Make = Callable[..., Path]


def item(start: float, end: float, label: str = "x") -> dict[str, object]:
    return {"segment": [start, end], "label": label}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A dataset of features: a, b in training, c in testing, with two actions each; keywords replace or add videos."""
    def write(text: str = YAML, **changes: object) -> Path:
        (tmp_path / "feats").mkdir(exist_ok=True)
        database = {}
        for name, subset in (("a", "training"), ("b", "training"), ("c", "testing")):
            database[name] = {"subset": subset, "duration": 4, "annotations": [item(0, 1), item(2, 3, "y")]}
            np.save(tmp_path / "feats" / f"{name}.npy", np.full((20, 3), ord(name)))
        (tmp_path / "a.json").write_text(json.dumps({"database": database | changes}))
        (tmp_path / "d.yaml").write_text(text)
        return tmp_path / "d.yaml"

    return write


def kinds(checked: Checked) -> dict[str, list[str]]:
    return {kind: [str(problem) for problem in problems] for kind, problems in checked.kinds().items()}


def test_a_sound_dataset(make: Make) -> None:
    checked = check_data(str(make()))
    assert (checked.problems, checked.usable, checked.files) == ([], True, {"listed": 3, "readable": 3})
    assert checked.classes == {"x": {"training": 2, "testing": 1}, "y": {"training": 2, "testing": 1}}
    assert (checked.splits["training"].videos, checked.splits["training"].actions) == (2, 4)


def test_bad_records_are_collected_not_only_the_first(make: Make) -> None:
    path = make(a={"subset": "training", "duration": 4, "annotations": [item(0, 1, "z"), item(3, 2), item(1, 2), {"label": "x"}]},
                b={"duration": 3}, d={"subset": "testing", "duration": -1, "annotations": [item(0, 1)]})
    checked = check_data(str(path))
    assert not checked.usable
    assert kinds(checked)["bad record"] == [
        "video 'a', annotation 1: the segment ends (2) before it starts (3)",
        "video 'a', annotation 3: 'segment' is not [start, end] in seconds",
        "video 'b': 'subset' is missing", "video 'd': 'duration' is -1, not a positive number of seconds"]
    assert kinds(checked)["unknown label"] == ["video 'a', annotation 0: label 'z' is not a class of the dataset"]


def test_odd_records_are_no_reason_not_to_use_it(make: Make) -> None:
    actions = [item(0, 1), item(0, 1), item(2, 2, "y"), item(3, 5), item(6, 7)]
    checked = check_data(str(make(a={"subset": "training", "duration": 4, "annotations": actions})))
    assert checked.usable
    assert kinds(checked) == {
        "duplicate": ["video 'a', annotation 1: x from 0 to 1 s is there twice"],
        "zero length": ["video 'a', annotation 2: y from 2 to 2 s"],
        "ends after the video": ["video 'a', annotation 3: x from 3 to 5 s of 4 s"],
        "after the end of the video": ["video 'a', annotation 4: x from 6 to 7 s of 4 s"],
    }


def test_files_that_are_missing_unlisted_unreadable_or_of_another_length(make: Make, tmp_path: Path) -> None:
    extra = {name: {"subset": "training", "duration": 4, "annotations": []} for name in ("d", "e", "f", "g")}
    path, folder = make(**extra), tmp_path / "feats"
    for name, content in (("d", np.zeros((30, 3))), ("f", np.zeros((20, 5))), ("ghost", np.zeros((20, 3)))):
        np.save(folder / f"{name}.npy", content)
    (folder / "e.npy").write_text("no array")
    (folder / "notes.txt").write_text("not a file of features, and nobody minds")
    checked = check_data(str(path))
    assert not checked.usable
    assert kinds(checked) == {
        "unreadable": ["video 'e': the features cannot be read", "video 'f': 5 channels, where 3 are expected (file: 20 time steps)"],
        "not here": ["video 'g': annotated in 'training', and g.npy is not here"],
        "not listed": ["file ghost.npy: no annotated video has this name"],
        "other length": ["video 'd': the features are 6.00 s long, and the annotations say 4 s"],
    }
    assert checked.files == {"listed": 7, "readable": 4}
    (folder / "e.npy").unlink()
    (folder / "f.npy").unlink()
    assert check_data(str(path)).usable


def test_a_split_without_any_file_cannot_be_used(make: Make, tmp_path: Path) -> None:
    path = make()
    (tmp_path / "feats" / "c.npy").unlink()
    assert not check_data(str(path)).usable
    for file in (tmp_path / "feats").iterdir():
        file.unlink()
    (tmp_path / "feats").rmdir()
    assert kinds(check_data(str(path))) == {"no folder": ["features: there is no such folder."]}


def test_splits_that_are_not_there(make: Make) -> None:
    checked = check_data(str(make(YAML + "splits: {test: validation}\n")))
    assert (list(kinds(checked)), checked.usable) == (["missing split"], True)
    checked = check_data(str(make(YAML + "splits: {train: train, test: validation}\n")))
    assert (len(kinds(checked)["missing split"]), checked.usable) == (2, False)
    assert "the splits are: testing, training" in kinds(checked)["missing split"][0]


def test_classes_without_actions(make: Make) -> None:
    path = make(YAML.replace("[x, y]", "[x, y, z]"), a={"subset": "testing", "duration": 4, "annotations": [item(0, 1, "y")]},
                b={"subset": "training", "duration": 4, "annotations": [item(0, 1)]})
    assert kinds(check_data(str(path))) == {"class without actions": ["class 'z': no action has this label"],
                                            "class not trained on": ["class 'y': no action of 'training' has this label"]}


def test_blocked_videos_are_neither_missing_nor_unlisted(make: Make, tmp_path: Path) -> None:
    path = make(YAML + "blocked: [b, d]\n", d={"subset": "training", "duration": 4, "annotations": [item(0, 1)]})
    assert check_data(str(path)).problems == []


def test_features_that_are_stretched_may_have_any_length(make: Make, tmp_path: Path) -> None:
    path = make(YAML.replace("whole", "resize"))
    np.save(tmp_path / "feats" / "a.npy", np.zeros((99, 3)))
    assert check_data(str(path)).problems == []


def test_videos(tiny, tmp_path: Path) -> None:
    assert check_data(str(tiny.yaml)).problems == []
    content = json.loads((tiny.folder / "annotations.json").read_text())
    first, second, third = list(content["database"])[:3]
    known = content["database"][first]["duration"]
    content["database"][first]["duration"] = known + 3
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "tiny.yaml").write_bytes(tiny.yaml.read_bytes())
    (tmp_path / "videos").mkdir()
    for name in content["database"]:
        (tmp_path / "videos" / f"{name}.mp4").symlink_to(tiny.video(name))
    (tmp_path / "videos" / f"{second}.mp4").unlink()
    (tmp_path / "videos" / f"{second}.mp4").write_bytes(tiny.video(second).read_bytes()[:2000])
    (tmp_path / "videos" / f"{third}.mp4").rename(tmp_path / "videos" / "ghost.mp4")
    checked = check_data(str(tmp_path / "tiny.yaml"))
    assert list(checked.kinds()) == ["unreadable", "not here", "not listed", "other length"]
    assert kinds(checked)["unreadable"][0].startswith(f"video {second!r}: not a readable video")
    (problem,) = checked.kinds()["other length"]
    assert str(problem) == f"video {first!r}: the videos are {known:.2f} s long, and the annotations say {known + 3:g} s"


def test_annotations_alone(make: Make, tmp_path: Path) -> None:
    make()
    checked = check_data(str(tmp_path / "a.json"))
    assert (checked.form, checked.files, checked.problems) == ("ActivityNet JSON", None, [])
    (tmp_path / "a.json").write_text('{"database": {}}')
    checked = check_data(str(tmp_path / "a.json"))
    assert (kinds(checked), checked.usable) == ({"no video": ["annotations: there is not one video in them"]}, False)
    with pytest.raises(UserError, match="no such dataset"):
        check_data(str(tmp_path / "none.json"))


#: What is in the published files: videos and actions by split, classes with actions, ambiguous regions, oddities.
PUBLISHED = {
    "thumos14/thumos14.json": ({"Test": (212, 3358), "Validation": (200, 3007)}, 20, 0, {"after the end of the video": 30}),
    "thumos14/official_test_annotations": ({"testing": (213, 3358)}, 20, 99, {}),
    "activitynet13": ({"training": (9649, 14859), "validation": (4728, 7293), "testing": (4851, 0)}, 200, 0,
                      {"duplicate": 45, "zero length": 12, "ends after the video": 5}),
    "epic100": ({"validation": (138, 9668)}, 78, 0, {"class without actions": 19}),
    "hapt": ({"training": (43, 853), "testing": (18, 361)}, 12, 0, {}),
    "fir": ({"training": (14, 188), "testing": (7, 100)}, 9, 0, {}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_annotations(name: str) -> None:
    golden = shared_golden()
    if golden is None or not (path := golden.parents[1] / "data" / name).exists():
        pytest.skip("the published files are not here")
    splits, classes, ambiguous, oddities = PUBLISHED[name]
    started = time.perf_counter()
    checked = check_data(str(path))
    assert time.perf_counter() - started < 10
    assert {split: (counts.videos, counts.actions) for split, counts in checked.splits.items()} == splits
    assert sum(any(counts.values()) for counts in checked.classes.values()) == classes
    assert sum(counts.ambiguous for counts in checked.splits.values()) == ambiguous
    assert {kind: len(problems) for kind, problems in checked.kinds().items()} == oddities
    assert checked.usable


def test_a_file_that_is_in_two_splits_under_two_names(make: Make, tmp_path: Path) -> None:
    path = make()
    (tmp_path / "feats" / "c.npy").write_bytes((tmp_path / "feats" / "a.npy").read_bytes())
    checked = check_data(str(path))
    assert checked.usable
    (problem,) = checked.kinds()["same file in two splits"]
    part = open_dataset(path)[0].part_of(open_dataset(path)[0].records[0])
    assert problem.file == tmp_path / "feats" / "c.npy"
    assert str(problem).startswith(f"video 'c' of 'testing': 608 bytes as in video 'a' of {part!r} (a.npy)")


def test_held_out_videos_are_a_split_of_their_own(make: Make, tmp_path: Path) -> None:
    path = make(YAML + "heldout: 0.5\n", **{f"v{number}": {"subset": "training", "duration": 4, "annotations": []} for number in range(8)})
    data = open_dataset(path)[0]
    held, train = (next(record.name for record in data.split(split) if record.name.startswith("v")) for split in ("heldout", "train"))
    for number in range(8):
        np.save(tmp_path / "feats" / f"v{number}.npy", np.full((20, 3), number))
    (tmp_path / "feats" / f"{held}.npy").write_bytes((tmp_path / "feats" / f"{train}.npy").read_bytes())
    (text,) = kinds(check_data(str(path)))["same file in two splits"]
    assert "of 'heldout'" in text and "of 'training'" in text
