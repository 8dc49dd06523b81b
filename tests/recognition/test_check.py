from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.recognition.check import is_of_clips
from tadshrink.stages.data_check import check_data
from tests.clips import TinyClips


@pytest.fixture
def listed(tiny_clips: TinyClips, tmp_path: Path) -> Path:
    """A list with one problem of each kind; its videos are 12 to 14 s long."""
    here, other = tiny_clips.video(0), tiny_clips.video(1)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines = ["path,label,start,end,subset", f"{here},a,0,5,training", f"{here},a,5,6,testing", f"{other},a,0,100,training",
             f"{other},b,100,101,testing", "gone.mp4,a,,,training", "broken.mp4,a,,,training"]
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "clips.csv"


def test_every_kind_of_problem_is_named(listed: Path) -> None:
    checked = check_data(str(listed))
    assert not checked.usable
    found = {kind: [(problem.record, problem.fatal) for problem in problems] for kind, problems in checked.kinds().items()}
    folder = listed.parent
    assert found.pop("file in several splits")
    (end,), (behind,) = found.pop("part ends after the file"), found.pop("part behind the end")
    assert "(0 s to 100 s)" in end[0] and not end[1]
    assert "(100 s to 101 s)" in behind[0] and behind[1]
    assert found == {"not here": [("video 'gone.mp4'", True)], "unreadable": [("video 'broken.mp4'", True)],
                     "class not trained on": [("class 'b'", False)]}
    assert checked.files == {"listed": 4, "readable": 2}
    assert checked.splits["training"].videos == 4
    assert checked.classes == {"a": {"training": 4, "testing": 1}, "b": {"testing": 1}}
    assert all(problem.file == folder / "broken.mp4" for problem in checked.kinds()["unreadable"])


def test_a_sound_dataset(tiny_clips: TinyClips) -> None:
    checked = check_data("synthetic-clips", tiny_clips.root)
    assert checked.usable
    assert not checked.problems
    assert checked.splits["testing"].actions == checked.splits["testing"].videos
    assert 11.5 < checked.splits["training"].video_seconds.shortest < checked.splits["training"].video_seconds.longest < 14.5


def test_what_is_a_recognition_dataset(tiny_clips: TinyClips, tmp_path: Path, listed: Path) -> None:
    (tmp_path / "clips.yaml").write_text("name: mine\nclips: clips.csv\n")
    (tmp_path / "untrimmed.yaml").write_text("name: mine\nannotations: a.json\n")
    (tmp_path / "other.csv").write_text("video,verb\n")
    (tmp_path / "folders" / "jump").mkdir(parents=True)
    (tmp_path / "folders" / "jump" / "one.mp4").write_bytes(b"")
    (tmp_path / "folders" / "README.txt").write_text("clips of mine\n")
    (tmp_path / "texts" / "jump").mkdir(parents=True)
    assert [is_of_clips(str(given)) for given in ("synthetic-clips", listed, tmp_path / "clips.yaml", tmp_path / "folders")] == [True] * 4
    assert [is_of_clips(str(given)) for given in ("synthetic", tmp_path / "untrimmed.yaml", tmp_path / "other.csv", tmp_path / "texts",
                                                  tmp_path / "gone.csv")] == [False] * 5
