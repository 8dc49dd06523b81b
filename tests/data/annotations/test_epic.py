from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.data.annotations import Action, AnnotationSettings, VideoRecord, read_annotations
from tadshrink.errors import UserError

HEADER = "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,narration,verb,verb_class,noun,noun_class\n"
LINES = ('P01_11_0,P01,P01_11,00:00:00.560,00:00:01.50,00:01:01.89,"take, put",grab,1,plate,2\n'
         "P01_11_1,P01,P01_11,00:00:01.700,01:00:01.56,01:00:02.45,put down,put-down,0,cup,1\n")
NOUN = AnnotationSettings(label="noun")


def write(folder: Path, lines: str = LINES, names: bool = True) -> Path:
    (folder / "EPIC_100_validation.csv").write_text(HEADER + lines)
    (folder / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\nP01_11,4000.5,59.94,1920x1080\n")
    if names:
        (folder / "EPIC_100_verb_classes.csv").write_text("id,key,instances,category\n0,put,\"['put', 'lay']\",leave\n1,take,[],get\n")
        (folder / "EPIC_100_noun_classes.csv").write_text("id,key\n0,tap\n1,cup\n2,plate\n")
    return folder


def test_verbs_and_nouns_by_the_names_of_their_classes(tmp_path: Path) -> None:
    write(tmp_path)
    verbs = (Action(1.5, 61.89, "take"), Action(3601.56, 3602.45, "put"))
    assert read_annotations(tmp_path) == [VideoRecord("P01_11", "validation", 4000.5, verbs, fps=59.94)]
    (record,) = read_annotations(tmp_path / "EPIC_100_validation.csv", NOUN)
    assert [action.label for action in record.actions] == ["plate", "cup"]
    assert record.where(record.actions[1]) == "video 'P01_11', EPIC_100_validation.csv, line 3"


def test_without_a_list_of_classes_the_given_names_or_the_numbers(tmp_path: Path) -> None:
    write(tmp_path, names=False)
    assert [action.label for action in read_annotations(tmp_path)[0].actions] == ["1", "0"]
    (record,) = read_annotations(tmp_path, AnnotationSettings(classes=("a", "b")))
    assert [action.label for action in record.actions] == ["b", "a"]


def test_the_split_is_in_the_name_of_the_file(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "EPIC_100_train.csv").write_text(HEADER + LINES.replace("P01_11,", "P02_01,"))
    (tmp_path / "EPIC_100_test_timestamps.csv").write_text("narration_id,video_id,start_timestamp,stop_timestamp\n"
                                                           "P03_01_0,P03_01,00:00:01.50,00:01:01.89\n")
    found = {record.name: (record.subset, len(record.actions)) for record in read_annotations(tmp_path)}
    assert found == {"P03_01": ("testing", 0), "P02_01": ("training", 2), "P01_11": ("validation", 2)}


@pytest.mark.parametrize(("old", "new", "message"), [
    ("00:00:01.50", "1.5 s", "line 2: '1.5 s' to '00:01:01.89' are not times as hours:minutes:seconds"),
    ("00:01:01.89", "00:00:01.00", r"line 2: the segment of video 'P01_11' ends \(1.0\) before it starts \(1.5\)"),
    ("grab,1", "grab,2", "line 2: 'verb_class' is '2', not a class number below 2"),
    ("grab,1", "grab,take", "line 2: 'verb_class' is 'take', not a class number"),
])
def test_bad_lines(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_annotations(write(tmp_path, LINES.replace(old, new)))
