from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tadshrink.errors import UserError
from tadshrink.recognition.data import load_recognition
from tadshrink.stages.recognisers import RecognitionChoice
from tests.notes import Notes


def write(folder: Path, lines: list[str], columns: str = "path,label,subset") -> Path:
    path = folder / "clips.csv"
    path.write_text("\n".join([columns, *lines]) + "\n", encoding="utf-8")
    return path


def videos(count: int, subset: str = "training") -> list[str]:
    return [f"{number}.mp4,{'walk' if number % 2 else 'sit'},{subset}" for number in range(count)]


def test_held_out_videos_are_part_of_training_and_stay_when_others_come(tmp_path: Path) -> None:
    few = load_recognition(write(tmp_path, [*videos(50), "t.mp4,sit,testing"]))
    held, train = ({record.key for record in few.split(name)} for name in ("heldout", "training"))
    assert held | train == {f"{number}.mp4" for number in range(50)}
    assert not held & train
    assert 5 <= len(held) <= 15
    assert [record.key for record in few.split("test")] == ["t.mp4"]
    more = {record.key for record in load_recognition(write(tmp_path, videos(80))).split("heldout")}
    assert held <= more


def test_parts_of_one_video_stay_together(tmp_path: Path) -> None:
    lines = [f"{number % 10}.mp4,{'walk' if number % 3 else 'sit'},{number},{number + 1},training" for number in range(100)]
    data = load_recognition(write(tmp_path, lines, "path,label,start,end,subset"))
    held, train = ({record.key for record in data.split(name)} for name in ("heldout", "train"))
    assert held and train and not held & train


def test_held_out_videos_may_be_those_that_the_list_says(tmp_path: Path) -> None:
    data = load_recognition(write(tmp_path, [*videos(50), "h.mp4,walk,heldout", "t.mp4,sit,testing"]))
    assert [record.key for record in data.split("heldout")] == ["h.mp4"]
    assert len(data.split("training")) == 50


def test_of_two_videos_one_is_held_out(tmp_path: Path) -> None:
    data = load_recognition(write(tmp_path, videos(2)))
    assert len(data.split("heldout")) == len(data.split("training")) == 1


def test_without_splits_some_files_are_for_testing(tmp_path: Path) -> None:
    notes = Notes()
    data = load_recognition(write(tmp_path, [line.removesuffix(",x") for line in videos(200, "x")], "path,label"), reporter=notes)
    assert 20 <= len(data.split("testing")) <= 60
    assert len(data.split("heldout")) >= 15
    count = len(data.split("testing"))
    assert f"the list has no splits: {count} of 200 files (about 20%) are for testing, chosen by name" in notes.lines


@pytest.mark.parametrize("seed", range(8))
def test_of_few_files_without_splits_one_is_for_testing(tmp_path: Path, seed: int) -> None:
    data = load_recognition(write(tmp_path, [f"{seed}-{number}.mp4,{'ab'[number % 2]}" for number in range(3)], "path,label"))
    assert data.split("testing") and data.split("training")


def test_the_splits_are_listed_where_one_is_missing(tmp_path: Path) -> None:
    data = load_recognition(write(tmp_path, videos(4)))
    with pytest.raises(UserError, match=r"split 'testing' has no videos. The splits are: training; 'heldout' is part of 'training'"):
        data.split("testing")


def test_classes_are_the_labels_or_those_of_the_yaml(tmp_path: Path) -> None:
    write(tmp_path, videos(4))
    assert load_recognition(tmp_path / "clips.csv").classes == ("sit", "walk")
    yaml = tmp_path / "set.yaml"
    yaml.write_text("name: mine\nclips: clips.csv\nclasses: [walk, sit, run]\naugment: flips\nheldout: 0.5\n")
    notes = Notes()
    data = load_recognition(yaml, reporter=notes)
    assert data.classes == ("walk", "sit", "run")
    assert data.config.augment == "flips"
    assert "classes without a training video: run" in notes.lines
    yaml.write_text("name: mine\nclips: clips.csv\nclasses: [walk]\n")
    with pytest.raises(UserError, match="labels that are not classes: sit"):
        load_recognition(yaml)


@pytest.mark.parametrize(("text", "problem"), [
    ("clips: a.csv", "name: Field required"), ("name: a\nclips: b\nflips: yes", "flips: Extra inputs"), ("- 1", "a mapping"),
    ("name: a\nclips: b\nheldout: 1\naugment: all", "augment: .*; heldout: "), ("a: [", "not valid YAML"),
    ("name: a\nclips: b\nclasses: []", "nothing is listed"), ("name: a\nclips: b\nclasses: [x, x]", "listed more than once: x"),
])
def test_bad_yaml_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "set.yaml").write_text(text)
    with pytest.raises(UserError, match=problem) as error:
        load_recognition(tmp_path / "set.yaml")
    assert "\n" not in str(error.value)


def test_missing_files_are_an_error_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "1.mp4").touch()
    path, notes = write(tmp_path, videos(3)), Notes()
    with pytest.raises(UserError, match=r"2 of the files are not here \(0.mp4, 2.mp4\)"):
        RecognitionChoice(str(path)).load(notes)
    assert [record.key for record in RecognitionChoice(str(path), allow_missing=True).load(notes).records] == ["1.mp4"]
    assert notes.lines[-1] == "skipped: 2 of the files are not here (0.mp4, 2.mp4)"


def test_what_is_held_out_stays_so_where_files_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path, videos(30))
    whole = load_recognition(path)
    held = {record.key for record in whole.split("heldout")}
    for record in whole.records:
        if record.key not in held:
            (tmp_path / record.key).touch()
    without = RecognitionChoice(str(path), allow_missing=True).load(Notes())
    assert without.split("training") == whole.split("training")
    # None of those that were trained on takes their place.
    with pytest.raises(UserError, match="split 'heldout' has no videos"):
        without.split("heldout")


def test_a_file_in_two_splits_is_told(tmp_path: Path) -> None:
    notes = Notes()
    load_recognition(write(tmp_path, ["a.mp4,x,1,2,training", "a.mp4,y,2,3,testing"], "path,label,start,end,subset"), reporter=notes)
    assert "files with parts in several splits: a.mp4" in notes.lines


def test_unknown_sets_and_those_not_made_yet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch: no such recognition dataset. Give a built-in name \(synthetic-clips\)"):
        load_recognition("nosuch")
    with pytest.raises(UserError, match=r"none.csv: no such recognition dataset"):
        load_recognition(tmp_path / "none.csv")
    with pytest.raises(UserError, match="--root means nothing for a folder or a CSV file"):
        load_recognition(write(tmp_path, videos(4)), tmp_path)
    with pytest.raises(UserError, match="Run: tadshrink data make synthetic-clips --root"):
        load_recognition("synthetic-clips", tmp_path)
    with pytest.raises(UserError, match="two classes or more"):
        load_recognition(write(tmp_path, ["a.mp4,x,training"])).to_learn()
    with pytest.raises(UserError, match="no video is listed here"):
        load_recognition(write(tmp_path, []))


def test_a_name_that_is_too_long_for_a_file_is_a_missing_file(tmp_path: Path) -> None:
    choice = RecognitionChoice(str(write(tmp_path, [f"{'a' * 300}.mp4,x,training"])))
    with pytest.raises(UserError, match="1 of the files are not here"):
        choice.load(Notes())


def test_names_of_files_need_not_be_text(tmp_path: Path) -> None:
    for label in ("jump", "walk"):
        (tmp_path / label).mkdir()
        for number in range(3):
            Path(str(tmp_path / label / f"{number}").encode().decode() + b"caf\xe9.mp4".decode(errors="surrogateescape")).write_bytes(b"")
    data = load_recognition(tmp_path)
    assert len(data.records) == 6 and data.split("testing") and data.heldout()


def test_splits_in_any_case(tmp_path: Path) -> None:
    data = load_recognition(write(tmp_path, [*videos(4, "Training"), "h.mp4,walk,Heldout", "t.mp4,sit,TEST"]))
    assert [record.key for record in data.split("heldout")] == ["h.mp4"]
    assert len(data.split("training")) == 4


def test_the_state_changes_with_the_list_and_the_files(tmp_path: Path) -> None:
    data = load_recognition(write(tmp_path, videos(3)))
    before = data.state()
    assert before == load_recognition(tmp_path / "clips.csv").state()
    (tmp_path / "0.mp4").write_bytes(b"x")
    assert data.state() != before
    assert replace(data, records=data.records[:2]).state() != data.state()
