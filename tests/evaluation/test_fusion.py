from __future__ import annotations

import json

import numpy as np
import pytest

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import FUSIONS, VideoScores, read_video_scores
from tadshrink.models.config import PostprocessConfig

PROPOSALS = Detections([[0, 1], [2, 4]], [0.5, 0.1], [0, 0])
SCORES = VideoScores(("a", "b", "c"), {"x": np.array([0.2, 0.8, 0.2])}, "scores.json")


def write(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_every_proposal_once_per_class_best_class_first():
    found = SCORES.fuse(PROPOSALS, "x", PostprocessConfig())
    assert found.labels.tolist() == [1, 1, 0, 0]
    assert found.segments.tolist() == [[0, 1], [2, 4]] * 2
    assert found.scores == pytest.approx([0.4, 0.08, 0.1, 0.02])


@pytest.mark.parametrize(("fusion", "expected"), [
    ("product", [0.4, 0.08]),
    ("sqrt", [0.4**0.5, 0.08**0.5]),
    ("normalised", [2 * np.exp(0.8) / (np.exp(0.8) + 2 * np.exp(0.2)) * score for score in (0.5, 0.1)]),
])
def test_kinds(fusion, expected):
    found = SCORES.fuse(PROPOSALS, "x", PostprocessConfig(fusion=fusion, fusion_top_k=1))
    assert found.labels.tolist() == [1, 1]
    assert found.scores == pytest.approx(expected)
    assert found.scores.dtype == np.float32


def test_fewer_classes_than_asked_for_and_no_proposals():
    assert SCORES.fuse(PROPOSALS, "x", PostprocessConfig(fusion_top_k=9)).labels.tolist() == [1, 1, 0, 0, 2, 2]
    assert len(SCORES.fuse(Detections.empty(), "x", PostprocessConfig())) == 0


def test_large_logits():
    scores = VideoScores(("a", "b"), {"x": np.array([1000.0, -1000.0])})
    assert scores.fuse(PROPOSALS, "x", PostprocessConfig(fusion="normalised", fusion_top_k=1)).scores == pytest.approx([1.0, 0.2])


@pytest.mark.parametrize("stored", ["abc", "v_abc"])
@pytest.mark.parametrize("asked", ["abc", "v_abc"])
def test_the_prefix_of_names_does_not_matter(stored, asked):
    scores = VideoScores(("a",), {stored: np.array([1.0])})
    assert scores.of(asked).tolist() == [1]


def test_the_name_as_it_is_comes_first():
    scores = VideoScores(("a",), {"v_abc": np.array([1.0]), "abc": np.array([2.0])})
    assert (scores.of("abc").item(), scores.of("v_abc").item()) == (2, 1)


def test_missing_video():
    SCORES.require(["x"])
    for call in (lambda: SCORES.fuse(PROPOSALS, "y", PostprocessConfig()), lambda: SCORES.require(["x", "y"])):
        with pytest.raises(UserError, match=r"scores\.json: no class scores for video 'y'"):
            call()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_negative_scores_are_logits(fusion):
    scores = VideoScores(("a", "b"), {"x": np.array([1.0, -1.0])}, "scores.json")
    if fusion == "normalised":
        assert len(scores.fuse(PROPOSALS, "x", PostprocessConfig(fusion=fusion))) == 4
        return
    with pytest.raises(UserError, match=r"scores\.json: video 'x': negative class scores"):
        scores.fuse(PROPOSALS, "x", PostprocessConfig(fusion=fusion))


def test_read(tmp_path):
    path = write(tmp_path / "s.json", {"class": ["a", "b"], "results": {"x": [0.25, 1], "y": [[0.5, 0]]}, "more": 1})
    scores = read_video_scores(path)
    assert scores.classes == ("a", "b")
    assert {video: row.tolist() for video, row in scores.scores.items()} == {"x": [0.25, 1], "y": [0.5, 0]}
    assert scores.where == path


@pytest.mark.parametrize(("data", "message"), [
    ("{", "not valid JSON"),
    ([], "no 'class' list"),
    ({"results": {}}, "no 'class' list"),
    ({"class": [], "results": {}}, "no 'class' list"),
    ({"class": ["a", 1], "results": {}}, "no 'class' list"),
    ({"class": ["a", "b", "a"], "results": {}}, "class 'a' is listed more than once"),
    ({"class": ["a"]}, "no 'results' object"),
    ({"class": ["a"], "results": [1]}, "no 'results' object"),
    ({"class": ["a"], "results": {"x": 1}}, "video 'x': int instead of a list of 1"),
    ({"class": ["a", "b"], "results": {"x": [1]}}, "video 'x': 1 scores instead of a list of 2"),
    ({"class": ["a", "b"], "results": {"x": [1, "1"]}}, "video 'x': score of 'b' is '1', not a finite number"),
    ({"class": ["a", "b"], "results": {"x": [True, 1]}}, "video 'x': score of 'a' is True"),
    ('{"class": ["a"], "results": {"x": [NaN]}}', "video 'x': score of 'a' is nan"),
    ('{"class": ["a"], "results": {"x": [1e999]}}', "video 'x': score of 'a' is inf"),
    ('{"class": ["a"], "results": {"x": [1' + "0" * 400 + "]}}", "not a finite number"),
])
def test_bad_files(tmp_path, data, message):
    path = write(tmp_path / "s.json", data)
    with pytest.raises(UserError) as caught:
        read_video_scores(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_video_scores(tmp_path / "none.json")
