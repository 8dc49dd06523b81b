from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tadshrink.data.video_index import index_video
from tadshrink.errors import UserError
from tadshrink.stages.detect import detect


def test_detections_of_every_video_best_first_and_within_it(tiny, tmp_path: Path) -> None:
    videos = [tiny.video("testing_0000"), tiny.video("testing_0001")]
    result = detect(tiny.checkpoint, videos, tmp_path / "a.json", top=20, device="cpu")
    assert list(result.detections) == ["testing_0000", "testing_0001"]
    for video, found in zip(videos, result.detections.values(), strict=True):
        assert len(found) == 20
        assert (found.scores[:-1] >= found.scores[1:]).all()
        assert found.segments.min() >= 0
        assert found.segments.max() <= index_video(video).duration + 0.01
        assert result.durations[video.stem] == index_video(video).duration
    assert result.failed == {}


def test_the_file_is_activitynet_style(tiny, tmp_path: Path) -> None:
    result = detect(tiny.checkpoint, [tiny.video()], tmp_path / "a.json", top=3, device="cpu")
    written = json.loads((tmp_path / "a.json").read_text())
    assert written == result.to_json()
    assert written.keys() == {"version", "results"}
    items = written["results"]["testing_0000"]
    assert len(items) == 3
    assert items[0].keys() == {"segment", "label", "score"}
    assert items[0]["label"] in tiny.config.classes


def test_detections_below_the_threshold_are_left_out(tiny) -> None:
    everything = detect(tiny.checkpoint, [tiny.video()], device="cpu").detections["testing_0000"].scores
    limit = float(everything[len(everything) // 2])
    some = detect(tiny.checkpoint, [tiny.video()], score_threshold=limit, device="cpu").detections["testing_0000"].scores
    assert len(some) == (everything >= limit).sum()
    assert len(detect(tiny.checkpoint, [tiny.video()], score_threshold=1.0, device="cpu").detections["testing_0000"]) == 0


def test_broken_files_are_named_and_do_not_stop_the_others(tiny, tmp_path: Path) -> None:
    cut, text = tmp_path / "cut.mp4", tmp_path / "text.mp4"
    cut.write_bytes(tiny.video().read_bytes()[:2000])
    text.write_text("not a video")
    result = detect(tiny.checkpoint, [cut, tiny.video(), text, tmp_path / "none.mp4"], tmp_path / "a.json", device="cpu")
    assert list(result.detections) == ["testing_0000"]
    assert result.failed.keys() == {str(cut), str(text), str(tmp_path / "none.mp4")}
    assert all(message.startswith(path) and "\n" not in message for path, message in result.failed.items())
    assert list(json.loads((tmp_path / "a.json").read_text())["results"]) == ["testing_0000"]


def test_where_no_file_could_be_read_nothing_is_written(tiny, tmp_path: Path) -> None:
    result = detect(tiny.checkpoint, [tmp_path / "none.mp4"], tmp_path / "a.json", device="cpu")
    assert list(result.failed) == [str(tmp_path / "none.mp4")]
    assert not list(tmp_path.iterdir())


def test_two_videos_of_one_name_are_refused(tiny, tmp_path: Path) -> None:
    other = tmp_path / tiny.video().name
    shutil.copy(tiny.video(), other)
    with pytest.raises(UserError, match="two videos are named 'testing_0000'"):
        detect(tiny.checkpoint, [tiny.video(), other], device="cpu")


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write here"):
        detect(tmp_path / "not-even-looked-at.pth", [], tmp_path, device="cpu")
