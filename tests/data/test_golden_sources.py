"""Windows, features, masks, frame indices, actions and seconds of OpenTAD's and ActionFormer's data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.data.annotations import Action, VideoRecord
from tadshrink.data.features import FeatureSource
from tadshrink.data.grids import GRIDS
from tadshrink.data.loader import inference_batches
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.windows import Window, clip_to_window, window_mask
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.postprocess import to_seconds
from tadshrink.models.config import SamplingConfig

GOLDEN = np.load(Path(__file__).parent / "golden" / "sources.npz")
#: Of every video: duration, frames, rate in the annotation file, number of features, actions.
VIDEOS = {
    "video_test_0000001": (100.0, 3000, 30.0, 747, [(1.0, 5.0, "B"), (20.25, 31.7, "A"), (99.0, 100.0, "C"), (20.25, 31.7, "A")]),
    "video_test_0000002": (33.4, 1001, 29.97, 247, [(10.0, 30.0, "B"), (10.0, 30.0, "C"), (2.0, 2.0, "B")]),
    "video_test_0000003": (8.2, 205, 25.0, 48, [(0.0, 8.2, "A")]),
    "video_test_0000004": (0.5, 3, 6.0, 1, [(0.1, 0.4, "A")]),
    "video_test_0000005": (60.0, 1800, 30.0, 447, []),
    "video_test_0000006": (68.3, 2048, 30.0, 509, [(3.0, 9.99, "C")]),
    "video_validation_0000001": (120.3, 3608, 29.97, 899, [(5.5, 12.25, "A"), (60.0, 61.0, "B"), (100.1, 118.9, "C")]),
    "video_validation_0000002": (9.9, 247, 25.0, 58, [(1.1, 4.4, "A"), (1.1, 4.4, "A"), (1.1, 4.4, "B"), (7.0, 8.0, "B")]),
    "v_train_sub": (10.0, 300, 30.0, 72, [(1.0, 4.0, "A")]),
}
TEST = [name for name in VIDEOS if name.startswith("video_test")]
TRAINING = [name for name in VIDEOS if name not in TEST]
#: THUMOS-14 settings of features: a snippet of 16 frames every 4.
FEATURES = SamplingConfig(window=64, snippet_stride=4, offset_frames=8)
RESIZE = SamplingConfig(mode="resize", window=192, frames_per_cell=4)


def record(name: str) -> VideoRecord:
    duration, frames, fps, _, actions = VIDEOS[name]
    return VideoRecord(name, "training", duration, tuple(Action(*action) for action in actions), frames, fps)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Video]:
    """Feature t of every video is (t, t)."""
    folder = tmp_path_factory.mktemp("golden")
    for name, (_, _, _, length, _) in VIDEOS.items():
        np.save(folder / f"{name}.npy", np.repeat(np.arange(length, dtype=np.float32)[:, None], 2, axis=1))
    return {name: Video(name, folder / f"{name}.npy", row[0], row[1], row[2]) for name, row in VIDEOS.items()}


def triples(segments: np.ndarray, labels: object) -> set[tuple[float, float, int]]:
    # OpenTAD leaves out exact duplicates.
    return {(*segment, int(label)) for segment, label in zip(segments.tolist(), labels, strict=True)}


def classes(truth: VideoRecord) -> np.ndarray:
    return np.array(["ABC".index(action.label) for action in truth.actions], dtype=int)


def test_sliding_windows_over_features(videos: dict[str, Video]) -> None:
    batches = list(inference_batches([videos[name] for name in TEST], FeatureSource(FEATURES), 8))
    windows = [window for _, _, group in batches for window in group]
    assert [window.video for window in windows] == GOLDEN["sliding/video"].tolist()
    assert [window.start_frame for window in windows] == GOLDEN["sliding/start_frame"].tolist()
    assert [window.fps for window in windows] == GOLDEN["sliding/fps"].tolist()
    inputs, masks = torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])
    np.testing.assert_array_equal(inputs[:, 0], GOLDEN["sliding/row"])
    np.testing.assert_array_equal(inputs[:, 1], GOLDEN["sliding/row"])
    np.testing.assert_array_equal(masks, np.arange(64) < GOLDEN["sliding/valid"][:, None])


def test_whole_videos(videos: dict[str, Video]) -> None:
    source = FeatureSource(FEATURES.model_copy(update={"mode": "whole"}))
    found = [(inputs, masks, window) for inputs, masks, group in inference_batches([videos[name] for name in TEST], source, 1)
             for window in group]
    assert [window.video for _, _, window in found] == GOLDEN["whole/video"].tolist()
    assert [window.fps for _, _, window in found] == GOLDEN["whole/fps"].tolist()
    for (inputs, mask, window), length in zip(found, GOLDEN["whole/length"].tolist(), strict=True):
        # Shorter ones are padded to 64 here, and by the model there.
        assert inputs.shape == (1, 2, max(64, length))
        assert mask[0].tolist() == [True] * length + [False] * (max(64, length) - length)
        assert inputs[0, 0, :length].tolist() == list(range(length))
        assert window.start_frame == 0


@pytest.mark.parametrize("name", [name for name in TEST if VIDEOS[name][4]])
def test_actions_of_whole_videos(videos: dict[str, Video], name: str) -> None:
    sampling = FEATURES.model_copy(update={"mode": "whole"})
    found = GRIDS["whole"].actions(record(name), FeatureSource(sampling).timeline(videos[name]), sampling)
    golden = GOLDEN[f"whole_actions/{name}/segments"], GOLDEN[f"whole_actions/{name}/labels"]
    assert triples(found, classes(record(name))) == triples(*golden)


@pytest.mark.parametrize("name", [name for name in TEST if VIDEOS[name][4]])
def test_actions_where_only_the_frame_rate_is_known(videos: dict[str, Video], name: str) -> None:
    """ActionFormer takes the rate of the annotation file and does not round to frames."""
    sampling = FEATURES.model_copy(update={"mode": "whole"})
    video = videos[name]
    line = FeatureSource(sampling).timeline(Video(name, video.path, video.duration, None, video.fps))
    assert line.cells == GOLDEN[f"exact/{name}/length"]
    np.testing.assert_allclose(GRIDS["whole"].actions(record(name), line, sampling), GOLDEN[f"exact/{name}/segments"], atol=2e-5)
    assert classes(record(name)).tolist() == GOLDEN[f"exact/{name}/labels"].tolist()


@pytest.mark.parametrize("name", TRAINING)
def test_training_windows_over_features(videos: dict[str, Video], name: str) -> None:
    """The golden window, which OpenTAD drew with other random numbers."""
    golden = {field: GOLDEN[f"training/{name}/{field}"] for field in ("row", "valid", "segments", "labels")}
    sampling = FEATURES.model_copy(update={"mode": "whole", "window": 128})
    source, window = FeatureSource(sampling), Window(int(golden["row"][0]), int(golden["valid"]))
    inputs, mask = source.load(videos[name], window)
    np.testing.assert_array_equal(inputs[0], golden["row"])
    assert int(mask.sum()) == golden["valid"]
    line = source.timeline(videos[name])
    clipped, share = clip_to_window(GRIDS["whole"].actions(record(name), line, sampling), window)
    kept = share >= source.kept_share
    assert triples(clipped[kept], classes(record(name))[kept]) == triples(golden["segments"], golden["labels"])
    # It is one that could have been drawn here.
    assert window.cells == 128 if line.cells > 128 else round(0.9 * line.cells) <= window.cells <= line.cells


@pytest.mark.parametrize("number", range(len(TRAINING)))
def test_resized_videos(number: int) -> None:
    golden = {field: GOLDEN[f"resize/{number}/{field}"] for field in ("frames", "indices", "segments", "valid", "video")}
    truth, frames, grid = record(str(golden["video"])), int(golden["frames"]), GRIDS["resize"]
    line = Timeline(truth.duration, frames / truth.duration, frames, grid.cells(frames, RESIZE))
    (window,) = grid.windows(line, RESIZE)
    np.testing.assert_array_equal(grid.frames(window, frames, RESIZE), golden["indices"])
    assert window_mask(window, RESIZE).sum() == golden["valid"] == 192
    found = grid.actions(truth, line, RESIZE)
    # All labels are one class there.
    assert triples(found, [0] * len(found)) == triples(golden["segments"], [0] * len(golden["segments"]))


@pytest.mark.parametrize("case", range(5))
def test_seconds(case: int) -> None:
    fps, duration, stride, offset, start, resize = GOLDEN[f"seconds/{case}/meta"].tolist()
    sampling = (SamplingConfig(mode="resize", window=int(resize)) if resize
                else SamplingConfig(snippet_stride=int(stride), offset_frames=offset))
    cells = GOLDEN[f"seconds/{case}/cells"]
    found = to_seconds(Detections(cells, np.zeros(len(cells)), np.zeros(len(cells))), int(start), sampling, fps, duration)
    np.testing.assert_array_equal(found.segments, GOLDEN[f"seconds/{case}/seconds"])
