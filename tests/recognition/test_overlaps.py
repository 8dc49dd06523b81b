from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.recognition.data import load_recognition
from tadshrink.recognition.overlaps import overlapping_parts
from tadshrink.stages.data_check import check_data
from tests.clips import TinyClips


def problems(folder: Path, *lines: str) -> list[str]:
    path = folder / "clips.csv"
    path.write_text("\n".join(["path,label,start,end,subset", *lines, "z.mp4,b,,,training"]) + "\n")
    found = list(overlapping_parts(load_recognition(path)))
    assert all((problem.kind, problem.file) == ("parts of two splits overlap", path) for problem in found)
    return [str(problem) for problem in found]


def test_parts_that_share_footage_are_named_by_line(tmp_path: Path) -> None:
    assert problems(tmp_path, "v.mp4,a,0,5,training", "v.mp4,a,20,25,training", "v.mp4,b,4,9,testing", "v.mp4,b,30,31,testing") == [
        "line 4, video 'v.mp4 (4 s to 9 s)': in 'testing', and shows what is in 'training' as line 2, video 'v.mp4 (0 s to 5 s)'"]


@pytest.mark.parametrize(("first", "second", "overlap"), [
    ("0,5", "5,9", False), ("0,5.1", "5,9", True), (",", "100,101", True), ("3,", ",3", False), ("3,", ",3.5", True), ("2,3", "0,9", True)])
def test_touching_is_not_overlapping_and_an_open_end_is_that_of_the_file(tmp_path: Path, first: str, second: str, overlap: bool) -> None:
    assert bool(problems(tmp_path, f"v.mp4,a,{first},training", f"v.mp4,a,{second},testing")) == overlap
    assert not problems(tmp_path, f"v.mp4,a,{first},testing", f"v.mp4,a,{second},testing")
    assert not problems(tmp_path, f"v.mp4,a,{first},training", f"w.mp4,a,{second},testing")


def test_data_check_counts_them_and_files_under_two_names(tiny_clips: TinyClips, tmp_path: Path) -> None:
    video, other, third = (tiny_clips.video(number) for number in range(3))
    (tmp_path / "copy.mp4").write_bytes(other.read_bytes())
    lines = ["path,label,start,end,subset", f"{video},a,0,5,training", f"{video},a,3,6,testing", f"{other},b,,,training",
             "copy.mp4,b,,,testing", f"{third},b,,,training", f"{third},a,0,1,validation"]
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    checked = check_data(str(tmp_path / "clips.csv"))
    counts = checked.to_json()["problem_counts"]
    assert counts == {"parts of two splits overlap": 2, "file in several splits": 2, "same file in two splits": 1}
    (same,) = checked.kinds()["same file in two splits"]
    assert same.file == tmp_path / "copy.mp4" and str(other) in str(same)
    assert [problem.record.split(",")[0] for problem in checked.kinds()["parts of two splits overlap"]] == ["line 3", "line 7"]
    assert checked.usable
