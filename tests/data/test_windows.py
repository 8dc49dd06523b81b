from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadshrink.data.annotations import Action, VideoRecord
from tadshrink.data.grids import GRIDS
from tadshrink.data.sources import VideoSource
from tadshrink.data.timeline import Timeline
from tadshrink.data.windows import (
    Window,
    actions_in_cells,
    actions_in_shares,
    clip_to_window,
    frame_indices,
    grid_cells,
    random_window,
    sliding_windows,
    spread_indices,
    window_mask,
)
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.postprocess import to_seconds
from tadshrink.models.config import SamplingConfig

#: Windows, frame indices, masks, actions and seconds of OpenTAD's data sets (THUMOS-14 settings).
GOLDEN = np.load(Path(__file__).parent / "golden" / "windows.npz")
GOLDEN_SAMPLING = {
    "window_64": SamplingConfig(window=64, snippet_stride=4),
    "window_768": SamplingConfig(window=768, snippet_stride=4),
    "stride_8": SamplingConfig(window=64, snippet_stride=8, frames_per_cell=2),
}
#: Videos of the golden training cases: duration, actions.
GOLDEN_VIDEOS = (
    (120.3, [(5.5, 12.25, "A"), (60.0, 61.0, "B"), (100.1, 118.9, "C")]),
    (9.9, [(1.1, 4.4, "A"), (1.1, 4.4, "A"), (1.1, 4.4, "B"), (7.0, 8.0, "B")]),
    (10.0, [(1.0, 4.0, "A")]),
)

KEPT_SHARE = VideoSource.kept_share

samplings = st.builds(SamplingConfig, window=st.integers(1, 40), frames_per_cell=st.integers(1, 4), snippet_stride=st.integers(1, 9))
frame_counts = st.integers(1, 1500)
boundaries = st.floats(0, 300, width=32)
segments = st.lists(st.tuples(boundaries, boundaries).map(sorted), max_size=6).map(lambda rows: np.float32(rows).reshape(-1, 2))
windows = st.builds(Window, st.integers(0, 200), st.integers(1, 100))


def record(duration: float, *actions: tuple[float, float, str]) -> VideoRecord:
    return VideoRecord("v", "training", duration, tuple(Action(*action) for action in actions))


def line(frames: float | None, duration: float, fps: float | None = None, cells: int = 1) -> Timeline:
    return Timeline(duration, fps or frames / duration, frames, cells)


def test_grid_cells() -> None:
    sampling = SamplingConfig(snippet_stride=4)
    assert [grid_cells(frames, sampling) for frames in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(("cells", "expected"), [
    (3, [(0, 3)]),
    (10, [(0, 8), (2, 8)]),
    (8, [(0, 8), (0, 8)]),
    (12, [(0, 8), (4, 8), (4, 8)]),
    (13, [(0, 8), (4, 8), (5, 8)]),
])
def test_sliding_windows_by_hand(cells: int, expected: list[tuple[int, int]]) -> None:
    assert sliding_windows(cells, SamplingConfig(window=8)) == [Window(*pair) for pair in expected]


@given(frames=frame_counts, sampling=samplings, overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.99, 1.0]))
def test_every_cell_is_covered_and_no_window_leaves_the_video(frames: int, sampling: SamplingConfig, overlap: float) -> None:
    sampling = sampling.model_copy(update={"overlap": overlap})
    cells = grid_cells(frames, sampling)
    found = sliding_windows(cells, sampling)
    covered = np.zeros(cells, bool)
    for window in found:
        assert window.first >= 0
        assert window.first + window.cells <= cells
        assert window.cells == min(cells, sampling.window)
        covered[window.first:window.first + window.cells] = True
    assert covered.all()
    assert [window.first for window in found] == sorted(window.first for window in found)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75, 0.9])
def test_a_video_shorter_than_a_window_has_one(overlap: float) -> None:
    for cells in range(1, 64):
        assert sliding_windows(cells, SamplingConfig(window=64, overlap=overlap)) == [Window(0, cells)]


@given(frames=frame_counts, sampling=samplings)
def test_only_the_last_window_may_be_there_twice(frames: int, sampling: SamplingConfig) -> None:
    found = sliding_windows(grid_cells(frames, sampling), sampling)
    assert len(set(found[:-1])) == len(found) - 1


@pytest.mark.parametrize("case", GOLDEN_SAMPLING)
def test_golden_sliding_windows(case: str) -> None:
    sampling, golden = GOLDEN_SAMPLING[case], {field: GOLDEN[f"{case}/{field}"] for field in ("video", "frames", "start_frame")}
    for video in np.unique(golden["video"]):
        own = golden["video"] == video
        found = sliding_windows(grid_cells(int(golden["frames"][own][0]), sampling), sampling)
        assert [window.first * sampling.snippet_stride for window in found] == golden["start_frame"][own].tolist()


@pytest.mark.parametrize("case", GOLDEN_SAMPLING)
def test_golden_frame_indices_and_masks(case: str) -> None:
    sampling, golden = GOLDEN_SAMPLING[case], {field: GOLDEN[f"{case}/{field}"] for field in ("frames", "start_frame", "indices", "valid")}
    rows = zip(golden["frames"].tolist(), golden["start_frame"], golden["indices"], golden["valid"].tolist(), strict=True)
    for frames, start, indices, valid in rows:
        found = [window for window in sliding_windows(grid_cells(frames, sampling), sampling)
                 if window.first * sampling.snippet_stride == start]
        np.testing.assert_array_equal(frame_indices(found[0], frames, sampling), indices)
        # A video's last cell counts here even when its second frame is missing, as in OpenTAD only when it is there.
        step = sampling.snippet_stride // sampling.frames_per_cell
        last = found[0].first + found[0].cells
        not_full = (last * sampling.frames_per_cell - 1) * step >= frames
        assert window_mask(found[0], sampling).sum() == valid + not_full


@pytest.mark.parametrize("case", ["train_64", "train_768"])
@pytest.mark.parametrize("video", range(len(GOLDEN_VIDEOS)))
def test_golden_actions_in_a_training_window(case: str, video: int) -> None:
    golden = {field: GOLDEN[f"{case}/{video}/{field}"] for field in ("frames", "indices", "valid", "segments", "labels")}
    sampling = SamplingConfig(window=len(golden["indices"]), snippet_stride=4)
    window = Window(int(golden["indices"][0]) // 4, int(golden["valid"]))
    np.testing.assert_array_equal(frame_indices(window, int(golden["frames"]), sampling), golden["indices"])
    truth = record(GOLDEN_VIDEOS[video][0], *GOLDEN_VIDEOS[video][1])
    clipped, share = clip_to_window(actions_in_cells(truth, line(int(golden["frames"]), truth.duration), sampling), window)
    ours = {(*segment, "ABC".index(action.label)) for segment, kept, action in
            zip(clipped.tolist(), share >= KEPT_SHARE, truth.actions, strict=True) if kept}
    # OpenTAD also drops exact duplicates; the losses here do not see them.
    assert ours == {(*segment, label) for segment, label in zip(golden["segments"].tolist(), golden["labels"].tolist(), strict=True)}


@pytest.mark.parametrize("case", range(3))
def test_golden_seconds(case: int) -> None:
    cells, seconds = GOLDEN[f"seconds/{case}/cells"], GOLDEN[f"seconds/{case}/seconds"]
    stride, start, fps, duration = GOLDEN[f"seconds/{case}/meta"].tolist()
    found = to_seconds(Detections(cells, np.zeros(len(cells)), np.zeros(len(cells))), int(start),
                       SamplingConfig(snippet_stride=int(stride)), fps, duration)
    np.testing.assert_array_equal(found.segments, seconds)


@given(frames=frame_counts, sampling=samplings)
def test_indices_ascend_within_the_video_and_pad_with_the_last(frames: int, sampling: SamplingConfig) -> None:
    for window in sliding_windows(grid_cells(frames, sampling), sampling):
        indices = frame_indices(window, frames, sampling)
        assert indices.shape == (sampling.frames,)
        assert indices[0] == window.first * sampling.snippet_stride
        assert (np.diff(indices) >= 0).all()
        assert indices[-1] < frames
        assert (indices[window.cells * sampling.frames_per_cell:] == indices[-1]).all()


def test_frame_indices_by_hand() -> None:
    sampling = SamplingConfig(window=4, frames_per_cell=2, snippet_stride=4)
    assert frame_indices(Window(1, 4), 100, sampling).tolist() == [4, 6, 8, 10, 12, 14, 16, 18]
    # A short video: cells at 0 and 4; frame 6 exists, frame 8 does not.
    assert frame_indices(Window(0, 2), 8, sampling).tolist() == [0, 2, 4, 6, 6, 6, 6, 6]
    # The last cell is not full: its second frame would be 6.
    assert frame_indices(Window(0, 2), 6, sampling).tolist() == [0, 2, 4, 4, 4, 4, 4, 4]
    assert frame_indices(Window(0, 2), 100, sampling).tolist() == [0, 2, 4, 6, 6, 6, 6, 6]
    assert window_mask(Window(7, 2), sampling).tolist() == [True, True, False, False]


def test_actions_in_cells_truncate_to_whole_frames_where_their_number_is_known() -> None:
    truth = record(10.0, (0.0, 0.999, "A"), (1.05, 3.33, "B"))
    found = actions_in_cells(truth, line(100, 10.0), SamplingConfig(snippet_stride=4))
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 2.25], [2.5, 8.25]]
    # With the frame rate alone (10 per second) nothing is cut off; the first feature lies 8 frames after the start.
    found = actions_in_cells(truth, line(None, 10.0, fps=10.0), SamplingConfig(snippet_stride=4, offset_frames=8))
    np.testing.assert_allclose(found, [[-2, 0.4975], [0.625, 6.325]], rtol=1e-6)
    assert actions_in_cells(record(10.0), line(100, 10.0), SamplingConfig()).shape == (0, 2)


def test_actions_in_shares_of_the_video() -> None:
    found = actions_in_shares(record(10.0, (0.0, 2.5, "A"), (5.0, 11.0, "B")), line(7, 10.0), SamplingConfig(window=8))
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 2], [4, 8]]
    assert actions_in_shares(record(10.0), line(7, 10.0), SamplingConfig()).shape == (0, 2)


def test_spread_indices_by_hand() -> None:
    # Parts of 2 frames: their middles lie at 0.5, 2.5, 4.5 and 6.5, halves go to the even frame.
    assert spread_indices(8, SamplingConfig(window=4)).tolist() == [0, 2, 4, 6]
    assert spread_indices(12, SamplingConfig(window=2, frames_per_cell=2)).tolist() == [1, 4, 7, 10]
    # Parts of half a frame: -0.25, 0.25, 0.75, 1.25.
    assert spread_indices(2, SamplingConfig(window=4)).tolist() == [0, 0, 1, 1]


@given(frames=frame_counts, sampling=samplings)
def test_spread_indices_ascend_and_reach_both_ends(frames: int, sampling: SamplingConfig) -> None:
    indices = spread_indices(frames, sampling)
    assert indices.shape == (sampling.frames,)
    assert (np.diff(indices) >= 0).all()
    assert 0 <= indices[0] <= frames / sampling.frames / 2
    assert frames - 1 - frames / sampling.frames / 2 <= indices[-1] < frames


@given(frames=frame_counts, sampling=samplings)
def test_resized_and_whole_videos_are_one_window(frames: int, sampling: SamplingConfig) -> None:
    rng, grid = np.random.default_rng(0), GRIDS["resize"]
    assert grid.cells(frames, sampling) == sampling.window
    whole = Window(0, sampling.window)
    assert grid.windows(line(frames, 1.0), sampling) == [whole]
    assert grid.draw(np.zeros((0, 2)), line(frames, 1.0), sampling, 0.5, rng) == whole
    assert GRIDS["whole"].windows(line(None, 1.0, 25.0, frames), sampling) == [Window(0, frames)]


def test_windows_over_features_go_by_the_videos_frames_where_known() -> None:
    sampling = SamplingConfig(window=8, snippet_stride=4)
    windows = GRIDS["sliding"].windows
    assert windows(line(40, 1.0, cells=9), sampling) == [Window(0, 8), Window(2, 8)]
    assert windows(line(None, 1.0, 40.0, cells=9), sampling) == [Window(0, 8), Window(1, 8)]


@given(cuts=st.lists(st.floats(0, 100), min_size=2, max_size=2).map(sorted), frames=st.integers(100, 3000))
def test_grid_and_back_to_seconds_is_off_by_less_than_a_frame(cuts: list[float], frames: int) -> None:
    sampling = SamplingConfig(snippet_stride=4)
    cells = actions_in_cells(record(100.0, (*cuts, "A")), line(frames, 100.0), sampling)
    seconds = to_seconds(Detections(cells, [0.5], [0]), 0, sampling, frames / 100.0, 100.0).segments[0]
    assert (np.array(cuts) - seconds > -1e-4).all()
    assert (np.array(cuts) - seconds < 100 / frames + 1e-4).all()


def test_clip_by_hand() -> None:
    clipped, share = clip_to_window(np.float32([[8, 12], [5, 9], [0, 30], [25, 30], [12, 12]]), Window(10, 10))
    assert clipped.tolist() == [[0, 2], [0, 0], [0, 10], [10, 10], [2, 2]]
    assert share.tolist() == pytest.approx([0.5, 0, 1 / 3, 0, 0])


@given(segments=segments, window=windows)
def test_clipped_actions_stay_inside(segments: np.ndarray, window: Window) -> None:
    clipped, share = clip_to_window(segments, window)
    assert clipped.shape == segments.shape
    assert ((clipped >= 0) & (clipped <= window.cells)).all()
    assert (clipped[:, 1] >= clipped[:, 0]).all()
    assert ((share >= 0) & (share <= 1)).all()
    inside = (segments[:, 0] >= window.first) & (segments[:, 1] <= window.first + window.cells)
    np.testing.assert_array_equal(clipped[inside], segments[inside] - window.first)
    long = segments[:, 1] - segments[:, 0] > 1e-3
    assert (share[inside & long] == 1).all()


@given(segments=segments, cells=st.integers(1, 300), size=st.integers(1, 100), seed=st.integers(0, 5))
def test_a_random_window_lies_in_the_video(segments: np.ndarray, cells: int, size: int, seed: int) -> None:
    window = random_window(segments, cells, size, KEPT_SHARE, np.random.default_rng(seed))
    assert window.first >= 0
    assert window.first + window.cells <= cells
    assert window.cells == size if cells > size else round(0.9 * cells) <= window.cells <= cells


@given(start=st.integers(60, 320), length=st.integers(1, 20), seed=st.integers(0, 20))
def test_a_random_window_holds_an_action(start: int, length: int, seed: int) -> None:
    segments = np.float32([[start, start + length]])
    window = random_window(segments, 400, 64, KEPT_SHARE, np.random.default_rng(seed))
    assert clip_to_window(segments, window)[1][0] >= KEPT_SHARE


def test_without_actions_any_window_will_do() -> None:
    found = {random_window(np.zeros((0, 2), np.float32), 100, 10, KEPT_SHARE, np.random.default_rng(seed)).first for seed in range(1000)}
    assert found == set(range(91))


def test_an_action_that_no_window_can_hold_is_given_up() -> None:
    assert random_window(np.float32([[0, 1000]]), 1000, 10, KEPT_SHARE, np.random.default_rng(0)).cells == 10
