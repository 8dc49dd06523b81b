from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.results import Results, read_results, with_known_names, write_results

GOOD = {"segment": [1.5, 2], "label": "a", "score": 0.25}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rows(read: Results) -> list[tuple[object, ...]]:
    return [(read.videos[video], read.labels[label], *segment, score)
            for video, label, segment, score in zip(read.video, read.label, read.segments.tolist(), read.scores.tolist(), strict=True)]


def test_activitynet_layout_in_the_order_of_the_file(tmp_path: Path) -> None:
    content = {"version": "1.3", "external_data": {}, "results": {"w": [GOOD, GOOD | {"label": "b", "score": 1}], "v": [], "u": [GOOD]}}
    read = read_results(write(tmp_path / "a.json", content))
    assert read.videos == ("w", "v", "u")
    assert rows(read) == [("w", "a", 1.5, 2, 0.25), ("w", "b", 1.5, 2, 1), ("u", "a", 1.5, 2, 0.25)]
    assert len(read) == 3 and read.repeated() == 0
    assert read_results(write(tmp_path / "a.json", {"results": {"v": [GOOD, GOOD | {"score": 1}, GOOD, GOOD]}})).repeated() == 2


def test_columns_of_actionformer_with_numbers_of_classes(tmp_path: Path) -> None:
    content = {"video-id": ["v", "w"], "t-start": [0, 1], "t-end": [2, 3.5], "label": [4, 0], "score": [0.5, 0.1]}
    read = read_results(write(tmp_path / "a.json", content))
    assert rows(read) == [("v", 4, 0, 2, 0.5), ("w", 0, 1, 3.5, 0.1)]


def test_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"results": {"v": [GOOD]}}).encode()))
    assert rows(read_results(path)) == [("v", "a", 1.5, 2, 0.25)]
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(UserError, match="not a sound gzip file"):
        read_results(path)


def test_all_digits_are_kept(tmp_path: Path) -> None:
    item = {"segment": [33.333333333333336, 40.1], "label": "a", "score": 0.123456789012345}
    assert rows(read_results(write(tmp_path / "a.json", {"results": {"v": [item]}}))) == [("v", "a", *item["segment"], item["score"])]


def test_no_detections(tmp_path: Path) -> None:
    for content in ({"results": {}}, {"results": {"v": []}}):
        read = read_results(write(tmp_path / "a.json", content))
        assert len(read) == 0 and read.repeated() == 0 and read.segments.shape == (0, 2)


@pytest.mark.parametrize(("item", "problem"), [
    ([1, 2], "'segment' is not"),
    (GOOD | {"segment": [1]}, "'segment' is not"),
    (GOOD | {"segment": [1, "2"]}, "'segment' is not"),
    (GOOD | {"segment": [1, float("inf")]}, "'segment' is not"),
    (GOOD | {"segment": [0, 1e300]}, "'segment' is not"),
    (GOOD | {"segment": "ab"}, "'segment' is not"),
    (GOOD | {"score": float("nan")}, "'score' is nan, not a finite number"),
    (GOOD | {"score": "0.5"}, "'score' is '0.5'"),
    (GOOD | {"score": True}, "'score' is True"),
    (GOOD | {"score": None}, "'score' is None"),
    (GOOD | {"label": None}, "'label' is missing"),
    (GOOD | {"label": True}, "'label' is missing"),
    ({"segment": [0, 1], "score": 1}, "'label' is missing"),
])
def test_a_bad_detection_is_named(tmp_path: Path, item: object, problem: str) -> None:
    with pytest.raises(UserError, match=rf"a.json: video 'v', detection 1: {problem}.*Give ActivityNet's layout"):
        read_results(write(tmp_path / "a.json", {"results": {"v": [GOOD, item]}}))


@pytest.mark.parametrize(("content", "problem"), [
    ("not json", "not valid JSON"),
    ([], "no 'results' object"),
    ({"a": 1}, "no 'results' object"),
    ({"results": []}, "no 'results' object"),
    ({"results": {"v": {}}}, "video 'v': not a list of detections"),
    ({"video-id": ["v"], "t-start": [0]}, "'t-end' is missing"),
    ({"video-id": ["v"], "t-start": [0, 1], "t-end": [1], "label": [0], "score": [1]}, "'t-start' is missing, or not a list as long"),
    ({"video-id": [1], "t-start": [0], "t-end": [1], "label": [0], "score": [1]}, "detection 0: the video is not a name"),
])
def test_other_files_are_refused(tmp_path: Path, content: object, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_results(write(tmp_path / "a.json", content))


def test_names_with_and_without_the_prefix(tmp_path: Path) -> None:
    read = read_results(write(tmp_path / "a.json", {"results": {"v_one": [GOOD], "two": [], "three": []}}))
    renamed, count = with_known_names(read, ["one", "v_two", "three"])
    assert (renamed.videos, count) == (("one", "v_two", "three"), 2)
    both = read_results(write(tmp_path / "a.json", {"results": {"v_one": [GOOD], "one": []}}))
    assert with_known_names(both, ["one"]) == (both, 0)


def test_what_is_written_is_what_was_scored(tmp_path: Path) -> None:
    rounded = Detections(np.array([[0.07, 62.64]]), np.array([0.1234]), np.array([1]))
    raw = Detections(np.array([[1 / 3, 2 / 3]]), np.array([1 / 7]), np.array([0]))
    write_results(tmp_path / "a.json", {"v": rounded, "w": raw, "x": Detections.empty()}, ("a", "b"))
    read = read_results(tmp_path / "a.json")
    assert rows(read)[0] == ("v", "b", 0.07, 62.64, 0.1234)
    assert read.videos == ("v", "w", "x")
    np.testing.assert_array_equal(read.segments[1], raw.segments[0])
    assert read.scores[1] == raw.scores[0]
