from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.data.annotations import Action, AnnotationSettings, VideoRecord, find_annotations, read_annotations
from tadshrink.errors import UserError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_one_file_per_class_and_ambiguous_regions(tmp_path: Path) -> None:
    folder = write(tmp_path, Diving_test="v1  1.0 2.5\nv2  3.0 4.0\n\n", CliffDiving_test="v1  1.0 2.5\n", Diving_val="v3 0.5 1\n",
                   Ambiguous_test="v2  7.0 8.0\nv9  1.0 2.0\n", detclasslist="7 CliffDiving\n9 Diving\n", readme="hello")
    found = find_annotations(folder)
    assert found.records == [
        VideoRecord("v2", "testing", None, (Action(3.0, 4.0, "Diving"),), ambiguous=((7.0, 8.0),)),
        VideoRecord("v9", "testing", None, (), ambiguous=((1.0, 2.0),)),
        VideoRecord("v1", "testing", None, (Action(1.0, 2.5, "CliffDiving"), Action(1.0, 2.5, "Diving"))),
        VideoRecord("v3", "validation", None, (Action(0.5, 1.0, "Diving"),)),
    ]
    assert found.records[0].where(found.records[0].actions[0]) == "video 'v2', Diving_test.txt, line 2"
    assert found.classes == ("CliffDiving", "Diving")
    assert read_annotations(folder / "Diving_val.txt") == found.records[3:]


def test_lengths_from_a_csv(tmp_path: Path) -> None:
    (tmp_path / "info.csv").write_text("video,duration,fps,frames\nv1,9.5,30,285\n")
    write(tmp_path, Diving_test="v1  1.0 2.5\n")
    (record,) = read_annotations(tmp_path, AnnotationSettings(video_info=tmp_path / "info.csv"))
    assert (record.duration, record.frames, record.fps) == (9.5, 285, 30)


@pytest.mark.parametrize(("line", "message"), [
    ("v1 1.0", r"Diving_test\.txt, line 2: 'v1 1.0' is not VIDEO START END"),
    ("v1 1.0 nan", "line 2: .* is not VIDEO START END"),
    ("v1 1.0 inf", "line 2: .* is not VIDEO START END"),
    ("v1 1.0 2.0 3.0", "line 2: .* is not VIDEO START END"),
    ("v1 2.0 1.0", r"line 2: the segment of video 'v1' ends \(1.0\) before it starts \(2.0\)"),
])
def test_bad_lines(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_annotations(write(tmp_path, Diving_test=f"v0 0 1\n{line}\n"))


def test_a_video_in_two_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="video 'v1': is in the splits 'testing' and 'validation'"):
        read_annotations(write(tmp_path, Diving_test="v1 1 2\n", Diving_val="v1 1 2\n"))
