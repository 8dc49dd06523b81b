from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.errors import UserError
from tadshrink.recognition.lists import read_list


def csv(folder: Path, *lines: str) -> Path:
    path = folder / "clips.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_all_columns_in_any_order(tmp_path: Path) -> None:
    path = csv(tmp_path, "label,subset,end,path,start", "walk,training,3.5,a/b.mp4,1", "sit,test,,b.mp4,", "sit,extra,2,c.mp4,")
    first, second, third = read_list(path).records
    assert (first.key, first.path, first.label) == ("a/b.mp4", tmp_path / "a/b.mp4", "walk")
    assert (first.subset, first.start, first.end) == ("training", 1.0, 3.5)
    assert (second.subset, second.start, second.end) == ("testing", None, None)
    assert (third.subset, third.start, third.end) == ("extra", None, 2.0)
    assert first.name == "a/b.mp4 (1 s to 3.5 s)"
    assert second.name == "b.mp4"


def test_two_columns_are_enough_and_others_are_told(tmp_path: Path) -> None:
    listed = read_list(csv(tmp_path, "path,label,weather", "a.mp4,walk,rain"))
    assert listed.records[0].subset == ""
    assert listed.notes == [f"{tmp_path / 'clips.csv'}: columns that mean nothing here: weather"]


@pytest.mark.parametrize(("line", "problem"), [
    (",walk,1,2,training", "line 3: no path"),
    ("a.mp4,,1,2,training", "line 3: no label"),
    (",,1,2,training", "line 3: no path; line 3: no label"),
    ("a.mp4,walk,one,2,training", "line 3: start 'one' is not a number of seconds"),
    ("a.mp4,walk,-1,2,training", "line 3: start '-1' is not a number of seconds"),
    ("a.mp4,walk,1,nan,training", "line 3: end 'nan' is not a number of seconds"),
    ("a.mp4,walk,1,inf,training", "line 3: end 'inf' is not a number of seconds"),
    ("a.mp4,walk,2,2,training", "line 3: end 2 is not after start 2"),
    ("a.mp4,walk,,0,training", "line 3: end 0 is not after start 0"),
    ("a.mp4,walk,1,2,training,more", "line 3: more cells than there are columns"),
    ("a.mp4,walk,1,2,", "line 3: no subset, and other lines have one"),
    ("z.mp4,sit,5.0,6,training", "line 3: the same part of 'z.mp4' as in line 2"),
    ("x/../z.mp4,sit,5,6,testing", "line 3: the same part of 'z.mp4' as in line 2"),
])
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, problem: str) -> None:
    path = csv(tmp_path, "path,label,start,end,subset", "z.mp4,walk,5,6,training", line)
    with pytest.raises(UserError) as error:
        read_list(path)
    assert str(error.value) == f"{path}: {problem}. Repair or remove these lines"


def test_from_the_start_is_the_same_however_it_is_said_and_names_tell_parts_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 3: the same part of 'a\.mp4' as in line 2"):
        read_list(csv(tmp_path, "path,label,start", "a.mp4,walk,", "a.mp4,sit,0"))
    parts = read_list(csv(tmp_path, "path,label,start,end", "a.mp4,walk,12345.11,12346", "a.mp4,sit,12345.14,12346.04")).records
    assert [part.name for part in parts] == ["a.mp4 (12345.11 s to 12346 s)", "a.mp4 (12345.14 s to 12346.04 s)"]


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: .*; line 3: .*; line 4: .* \(and 6 more\)"):
        read_list(csv(tmp_path, "path,label", *[f"{number}.mp4," for number in range(9)]))


def test_missing_columns_are_told_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'label'; the columns are: path, class"):
        read_list(csv(tmp_path, "path,class", "a.mp4,walk"))
    with pytest.raises(UserError, match="no column 'path' and no column 'label'"):
        read_list(csv(tmp_path, "a.mp4,walk"))
    with pytest.raises(UserError, match="the column 'label' is there twice"):
        read_list(csv(tmp_path, "path,label,label", "a.mp4,walk,sit"))


def test_names_of_columns_may_have_spaces_around_them(tmp_path: Path) -> None:
    record, = read_list(csv(tmp_path, "path, label , end", "a.mp4, walk, 3")).records
    assert (record.label, record.end) == ("walk", 3.0)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_folder_per_class(tmp_path: Path) -> None:
    listed = read_list(touch(tmp_path, "walk/b.mp4", "walk/a.MKV", "sit/c.avi", "walk/notes.txt", "walk/.hidden.mp4", ".git/d.mp4"))
    assert [(record.key, record.label, record.subset) for record in listed.records] == [
        ("sit/c.avi", "sit", ""), ("walk/a.MKV", "walk", ""), ("walk/b.mp4", "walk", "")]
    assert listed.notes == [f"{tmp_path}: 1 files are left out, which are no videos by their names"]


def test_folders_per_split(tmp_path: Path) -> None:
    listed = read_list(touch(tmp_path, "train/walk/a.mp4", "Test/walk/b.mp4", "val/sit/c.mp4"))
    assert {(record.key, record.label, record.subset) for record in listed.records} == {
        ("train/walk/a.mp4", "walk", "training"), ("Test/walk/b.mp4", "walk", "testing"), ("val/sit/c.mp4", "sit", "validation")}


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no video in a folder named by its class"):
        read_list(touch(tmp_path, "a.mp4", "walk/notes.txt"))


def test_a_folder_that_is_no_split_beside_some_that_are_is_refused_if_it_holds_videos(tmp_path: Path) -> None:
    touch(tmp_path, "train/walk/a.mp4", "test/walk/b.mp4", "extra/notes.txt")
    listed = read_list(tmp_path)
    assert [record.subset for record in listed.records] == ["testing", "training"]
    assert listed.notes == [f"{tmp_path}: no video lies in extra"]
    with pytest.raises(UserError, match=r"extra: no split, and beside folders of splits \(test, train\)\. Move it away"):
        read_list(touch(tmp_path, "extra/c.mp4"))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    listed = read_list(touch(tmp_path, "train/a.mp4", "train/night/b.mp4", "car/c.mp4"))
    assert [(record.label, record.subset) for record in listed.records] == [("car", ""), ("train", ""), ("train", "")]


@pytest.mark.parametrize("split", ["", "train/"])
def test_videos_in_folders_of_a_class_are_of_the_class(tmp_path: Path, split: str) -> None:
    touch(tmp_path, f"{split}walk/a.mp4", f"{split}walk/p1/b.mp4", f"{split}walk/p1/deep/c.mp4", f"{split}sit/p2/d.mp4", f"{split}sit/.e/f.mp4")
    listed = read_list(tmp_path)
    assert [(record.key, record.label) for record in listed.records] == [
        (f"{split}sit/p2/d.mp4", "sit"), (f"{split}walk/a.mp4", "walk"), (f"{split}walk/p1/b.mp4", "walk"),
        (f"{split}walk/p1/deep/c.mp4", "walk")]
    assert listed.notes == []


@pytest.mark.parametrize("split", ["", "train/"])
def test_videos_and_folders_that_are_of_no_use_are_told(tmp_path: Path, split: str) -> None:
    touch(tmp_path, f"{split}walk/a.mp4", f"{split}sit/b.mp4", f"{split}stray.mp4", f"{split}deep/er/c.txt")
    notes = read_list(tmp_path).notes
    assert f"{tmp_path}: no video lies in {split}deep" in notes
    assert f"{tmp_path}: 1 videos are left out, which lie in no folder of a class (the first: {split}stray.mp4)" in notes


def test_a_file_has_one_name_however_it_is_written(tmp_path: Path) -> None:
    given = ["a.mp4", "./a.mp4", "x/../a.mp4", f"../{tmp_path.name}/a.mp4", str(tmp_path / "a.mp4"), "../b.mp4", "/c.mp4"]
    listed = read_list(csv(tmp_path, "path,label,start", *[f"{name},walk,{number}" for number, name in enumerate(given)]))
    assert [record.key for record in listed.records] == ["a.mp4"] * 5 + ["../b.mp4", "/c.mp4"]
