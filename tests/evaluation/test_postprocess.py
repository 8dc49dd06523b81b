from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tadshrink.errors import UserError
from tadshrink.evaluation.candidates import decode
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import VideoScores
from tadshrink.evaluation.nms import nms_many
from tadshrink.evaluation.postprocess import merge_videos, to_seconds, window_detections
from tadshrink.models.config import DetectorConfig, PostprocessConfig, SamplingConfig
from tadshrink.models.detector import DetectorOutput

#: Head outputs of small OpenTAD and Progressive Block Drop detectors, and the detections those programs made of them.
GOLDEN = np.load(Path(__file__).parent / "golden" / "decode.npz")
STRIDES = (1, 2, 4, 8, 16, 32)
CONFIG = PostprocessConfig(nms_sigma=0.7)


def detector(postprocess: PostprocessConfig, classes=("a",)) -> DetectorConfig:
    """With windows as its NMS wants them."""
    sampling = SamplingConfig(mode="whole" if postprocess.nms_on == "grid" else "sliding", snippet_stride=10)
    return DetectorConfig(classes=classes, sampling=sampling, postprocess=postprocess)


def merge_windows(windows: list[Detections], postprocess: PostprocessConfig) -> Detections:
    """Those of one video."""
    return merge_videos([windows], detector(postprocess))[0]


def logit(probability):
    return torch.logit(torch.tensor(probability, dtype=torch.float64)).float()


def toy(classes: int) -> tuple:
    """One window: level 0 has points at 0 and 1 (cell 1 invalid), level 1 (stride 4) one point at 0."""
    fine = logit([[[0.2, 0.9], [0.99, 0.99]]])[..., :classes]
    coarse = logit([[[0.5, 0.0005]]])[..., :classes]
    offsets = [torch.tensor([[[0.5, 1.0], [7.0, 7.0]]]), torch.tensor([[[1.0, 2.0]]])]
    return [fine, coarse], offsets, [torch.tensor([[True, False]]), torch.tensor([[True]])], [1, 4]


def golden_outputs(name: str) -> tuple:
    def level(field):
        return [torch.from_numpy(GOLDEN[f"{name}/{field}/{number}"]) for number in range(len(STRIDES))]

    return ([part.transpose(1, 2) for part in level("cls_logit")],
            [part.transpose(1, 2) for part in level("reg_offset")], level("mask"), STRIDES)


def test_decode_many_classes():
    (found,) = decode(*toy(2), CONFIG)
    assert found.labels.tolist() == [1, 0, 0]
    assert found.segments.tolist() == [[-0.5, 1.0], [-4.0, 8.0], [-0.5, 1.0]]
    assert found.scores == pytest.approx([0.9, 0.5, 0.2])


def test_decode_keeps_the_best_and_the_first_of_equals():
    logits, offsets, masks, strides = toy(2)
    logits[1][:] = logits[0][:, :1]
    (found,) = decode(logits, offsets, masks, strides, CONFIG.model_copy(update={"pre_nms_top_k": 1}))
    assert found.labels.tolist() == [1]
    assert found.segments.tolist() == [[-0.5, 1.0]]


def test_decode_one_class_keeps_every_valid_point():
    logits, offsets, masks, strides = toy(1)
    logits[1][:] = -20
    config = CONFIG.model_copy(update={"pre_nms_top_k": 1, "score_threshold": 0.5})
    (found,) = decode(logits, offsets, masks, strides, config)
    assert found.segments.tolist() == [[-0.5, 1.0], [-4.0, 8.0]]
    assert found.labels.tolist() == [0, 0]
    assert found.scores == pytest.approx([0.2, 0], abs=1e-6)


def test_decode_orders_ties_by_point():
    logits = torch.zeros(1, 200, 2)
    logits[:, ::3] = 1.0
    (found,) = decode([logits], [torch.zeros(1, 200, 2)], [torch.ones(1, 200, dtype=torch.bool)], [1], CONFIG)
    high = [point for point in range(200) if point % 3 == 0]
    low = [point for point in range(200) if point % 3]
    assert found.segments[:, 0].tolist() == [point for point in high + low for _ in range(2)]
    assert found.labels.tolist() == [0, 1] * 200


def test_decode_per_level():
    logits, offsets, masks, strides = toy(2)
    masks[0][:] = True
    config = CONFIG.model_copy(update={"pre_nms_top_k": 3, "top_k_per_level": True})
    (found,) = decode(logits, offsets, masks, strides, config)
    # The best three of the fine level (0.99 twice, 0.9), then what the coarse level has above the threshold.
    assert found.scores == pytest.approx([0.99, 0.99, 0.9, 0.5])
    assert found.segments.tolist() == [[-6, 8], [-6, 8], [-0.5, 1.0], [-4, 8]]
    assert found.labels.tolist() == [0, 1, 1, 0]


def test_decode_per_level_selects_proposals_of_one_class_too():
    config = CONFIG.model_copy(update={"score_threshold": 0.3, "top_k_per_level": True})
    (found,) = decode(*toy(1), config)
    assert found.scores == pytest.approx([0.5])


def test_decode_leaves_out_short_ones():
    logits, offsets, masks, strides = toy(2)
    for length, count in ((0, 3), (1.4, 3), (1.5, 1), (11.9, 1), (12, 0)):
        (found,) = decode(logits, offsets, masks, strides, CONFIG.model_copy(update={"min_length": length}))
        assert len(found) == count
    (found,) = decode(logits, [offset * 0 for offset in offsets], masks, strides, CONFIG)
    assert len(found) == 3


@pytest.mark.parametrize("classes", [1, 2])
def test_decode_window_without_frames_is_empty_even_if_its_scores_are_nan(classes):
    logits, offsets, masks, strides = toy(classes)
    broken, nothing = [part * float("nan") for part in logits], [mask & False for mask in masks]
    (found,) = decode(broken, offsets, nothing, strides, CONFIG)
    assert len(found) == 0


def test_decode_takes_half_precision():
    logits, offsets, masks, strides = toy(2)
    (found,) = decode([part.half() for part in logits], [part.half() for part in offsets], masks, strides, CONFIG)
    assert found.scores == pytest.approx([0.9, 0.5, 0.2], abs=1e-3)


def test_to_seconds_clips_to_the_video():
    cells = Detections([[-3, 10], [-40, 5], [20, 300], [30, 200]], [0.1] * 4, [0] * 4)
    found = to_seconds(cells, 100, SamplingConfig(snippet_stride=4), fps=25.0, duration=30.0)
    np.testing.assert_allclose(found.segments, [[3.52, 5.6], [0, 4.8], [7.2, 30], [8.8, 30]], rtol=1e-6)
    assert not np.signbit(found.segments).any()
    assert found.segments.dtype == np.float32


@pytest.mark.parametrize("mode", ["whole", "sliding"])
def test_to_seconds_counts_from_the_centre_of_the_first_feature(mode):
    sampling = SamplingConfig(mode=mode, snippet_stride=4, offset_frames=8)
    found = to_seconds(Detections([[-3, 10]], [0.1], [0]), 0, sampling, fps=25.0, duration=30.0)
    np.testing.assert_allclose(found.segments, [[0, 1.92]], rtol=1e-6)


def test_to_seconds_of_a_resized_video_needs_no_frame_rate():
    sampling = SamplingConfig(mode="resize", window=32)
    found = to_seconds(Detections([[-3, 8], [16, 40]], [0.1] * 2, [0] * 2), 0, sampling, fps=-1, duration=64.0)
    assert found.segments.tolist() == [[0, 16], [32, 64]]


def toy_windows(config: PostprocessConfig, classes=("a",), scores: VideoScores | None = None, count=1) -> list[Detections]:
    """Two overlapping proposals [0, 2] (0.9) and [1, 2] (0.5), or for two classes one each, in windows at 0, 4, 8... seconds."""
    segments = torch.zeros(count, 2, 2)
    segments[:, 0, 1], segments[:, 1, 1] = 2, 1
    probabilities = torch.tensor([[0.9], [0.5]]) if len(classes) == 1 else torch.tensor([[0.9, 0], [0, 0.5]])
    output = DetectorOutput(torch.zeros(count, 1, 2), [torch.logit(probabilities).expand(count, 2, -1)], [segments],
                            [torch.ones(count, 2, dtype=torch.bool)], [torch.arange(2)], [1])
    places = [SimpleNamespace(video="v", start_frame=40 * number, fps=10.0, duration=100.0) for number in range(count)]
    return window_detections(output, places, detector(config, classes), scores)


LATE = PostprocessConfig(nms="hard", nms_iou=0.3)
EARLY = LATE.model_copy(update={"nms_on": "grid"})


def test_nms_on_seconds_is_left_to_the_merge():
    windows = toy_windows(LATE, count=2)
    assert [window.segments.tolist() for window in windows] == [[[0, 2], [1, 2]], [[4, 6], [5, 6]]]
    assert merge_windows(windows, LATE).segments.tolist() == [[0, 2], [4, 6]]


def test_nms_on_the_grid_is_done_before_the_merge():
    windows = toy_windows(EARLY, count=2)
    assert [window.segments.tolist() for window in windows] == [[[0, 2]], [[4, 6]]]
    merged = merge_windows([*windows, *windows], EARLY)
    assert merged.segments.tolist() == [[0, 2], [4, 6]] * 2


def test_nms_of_sliding_windows_is_on_seconds_whatever_the_model_says():
    sliding = detector(EARLY).model_copy(update={"sampling": SamplingConfig(mode="sliding", snippet_stride=10)})
    same = Detections([[1, 2]], [0.9], [0])
    assert merge_videos([[same, same]], sliding)[0].segments.tolist() == [[1, 2]]
    assert len(merge_videos([[same, same]], detector(EARLY))[0]) == 2


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("config", [LATE, EARLY])
def test_rounding_is_a_choice(config: PostprocessConfig, rounded: bool) -> None:
    config = config.model_copy(update={"rounded": rounded})
    output = DetectorOutput(torch.zeros(1, 1, 1), [torch.logit(torch.tensor([[[0.12345]]]))], [torch.tensor([[[0.0, 1.2345]]])],
                            [torch.ones(1, 1, dtype=torch.bool)], [torch.arange(1)], [1])
    place = SimpleNamespace(video="v", start_frame=0, fps=10.0, duration=100.0)
    found = merge_windows(window_detections(output, [place], detector(config)), config)
    assert found.scores.tolist() == [pytest.approx(0.1235 if rounded else 0.12345, abs=1e-7)]
    assert found.segments.tolist() == [[0, pytest.approx(1.23 if rounded else 1.2345, abs=1e-6)]]


def test_class_scores_name_the_proposals_after_nms_on_the_grid():
    scores = VideoScores(("x", "y"), {"v_v": np.array([0.5, 0.25])})
    (found,) = toy_windows(EARLY, scores=scores)
    assert found.labels.tolist() == [0, 1]
    assert found.segments.tolist() == [[0, 2]] * 2
    assert found.scores == pytest.approx([0.45, 0.225])


def test_class_scores_name_the_proposals_before_nms_on_seconds():
    scores = VideoScores(("x", "y"), {"v_v": np.array([0.5, 0.25])})
    merged = merge_windows(toy_windows(LATE, scores=scores), LATE)
    assert merged.labels.tolist() == [0, 1]
    assert merged.scores == pytest.approx([0.45, 0.225])


def test_class_scores_need_proposals():
    scores = VideoScores(("x", "y"), {"v": np.array([0.5, 0.25])}, "scores.json")
    with pytest.raises(UserError, match=r"scores\.json: .* one class .* not 2"):
        toy_windows(EARLY, ("a", "b"), scores)


def test_merge_rounds_before_and_after():
    windows = [Detections([[1.001, 2.001]], [0.90001], [3]), Detections([[1.004, 1.996]], [0.8], [3])]
    merged = merge_windows(windows, PostprocessConfig(nms_sigma=0.5))
    # Rounded, both are [1, 2] with tIoU 1 (up to the margin), so the second score is 0.8 exp(-2).
    assert merged.segments.tolist() == [[1, 2], [1, 2]]
    assert merged.scores.tolist() == np.float32([0.9, round(0.8 * np.exp(-2), 4)]).tolist()
    assert merged.labels.tolist() == [3, 3]


def test_equal_scores_come_in_order_of_first_appearance_of_their_class():
    merged = merge_windows([Detections([[0, 1]], [0.5], [7]), Detections([[2, 3], [4, 5]], [0.5, 0.5], [2, 7])], CONFIG)
    assert merged.labels.tolist() == [7, 7, 2]


def test_merging_together_is_merging_one_by_one():
    random = np.random.default_rng(0)
    videos = [
        [Detections(random.uniform(0, 9, (n, 2)).cumsum(1), random.random(n), random.integers(0, 3, n)) for n in counts]
        for counts in ([], [0], [5, 9], [30, 2, 7])
    ]
    for windows, merged in zip(videos, merge_videos(videos, detector(CONFIG)), strict=True):
        alone = merge_windows(windows, CONFIG)
        for field in ("segments", "scores", "labels"):
            np.testing.assert_array_equal(getattr(merged, field), getattr(alone, field))


@pytest.mark.parametrize("name", ["pruned", "adapter", "small"])
def test_golden_sliding_windows(name):
    fps, duration, stride = GOLDEN[f"{name}/fps_duration_stride"].tolist()
    sampling = SamplingConfig(snippet_stride=int(stride))
    cells = decode(*golden_outputs(name), CONFIG)
    starts = GOLDEN[f"{name}/window_start_frame"].tolist()
    windows = [to_seconds(found, start, sampling, fps, duration) for found, start in zip(cells, starts, strict=True)]
    before, final = Detections.concatenate(windows).rounded(), merge_windows(windows, CONFIG)
    for field in ("segments", "scores", "labels"):
        np.testing.assert_array_equal(getattr(before, field), GOLDEN[f"{name}/windows/{field}"])
        np.testing.assert_array_equal(getattr(final, field), GOLDEN[f"{name}/final/{field}"])


def test_golden_one_class_proposals():
    for number, found in enumerate(decode(*golden_outputs("one_class"), CONFIG)):
        np.testing.assert_array_equal(found.segments, GOLDEN[f"one_class/proposals/{number}"])
        np.testing.assert_array_max_ulp(found.scores, GOLDEN[f"one_class/scores/{number}"][:, 0], 2)
        assert len(nms_many([found], CONFIG)[0]) == len(found)
