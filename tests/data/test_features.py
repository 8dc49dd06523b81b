from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tadshrink.data.actions import ActionGrid
from tadshrink.data.datasets import Dataset, load_dataset
from tadshrink.data.feature_files import read_features
from tadshrink.data.features import FeatureSource, measure_scale
from tadshrink.data.loader import TrainingSet, VideoWindow, inference_batches
from tadshrink.data.sources import open_source
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.windows import Window
from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.postprocess import to_seconds
from tadshrink.models.config import DetectorConfig, FeatureConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.stages.train import config_for, measure_features
from tadshrink.training.draws import Draws

#: As in the toy dataset of features.
SAMPLING = SamplingConfig(mode="whole", window=8, snippet_stride=2, offset_frames=2)


def save(path: Path, values: object, dtype: type = np.float32) -> Path:
    np.save(path, np.asarray(values, dtype=dtype))
    return path


def ramp(path: Path, length: int = 23) -> Path:
    return save(path, np.stack([np.arange(length), np.full(length, 7)], axis=1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_a_file_of_any_numbers(tmp_path: Path, dtype: type) -> None:
    path = save(tmp_path / "a.npy", [[1, 2], [3, 4], [5, 6]], dtype)
    assert read_features(path).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert read_features(path, transposed=True).tolist() == [[1, 3, 5], [2, 4, 6]]
    inputs, mask = FeatureSource(SAMPLING).load(Video("a", path, fps=12), Window(0, 3))
    assert (inputs.dtype, inputs.shape, mask.dtype) == (torch.float32, (2, 8), torch.bool)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "cannot be read"),
    (b"text", "cannot be read"),
    (b"\x93NUMPY\x01\x00\x10\x00{'descr': ", "cannot be read"),
    (np.zeros(3), "not a table of features"),
    (np.zeros((2, 3, 4)), "not a table of features"),
    (np.zeros((0, 3)), "not a table of features"),
    (np.zeros((2, 3), complex), "not a table of features"),
    (np.array([[None]], object), "cannot be read"),
    (np.array([["a"]]), "not a table of features"),
])
def test_files_that_are_not_features(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "a.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(UserError, match=rf"a\.npy: .*{message}") as caught:
        read_features(path)
    assert "\n" not in str(caught.value)


def test_a_cut_file_and_none_at_all(tmp_path: Path) -> None:
    whole = ramp(tmp_path / "a.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"b\.npy: the features cannot be read"):
        read_features(tmp_path / "b.npy")
    with pytest.raises(UserError, match=r"c\.npy: no such file of features"):
        read_features(tmp_path / "c.npy")
    with pytest.raises(UserError, match=r"d\.npy: the features cannot be read"):
        (tmp_path / "d.npy").mkdir()
        read_features(tmp_path / "d.npy")
    with pytest.raises(UserError, match=r"d\.mp4: not a file of features.*npy"):
        read_features(tmp_path / "d.mp4")


def test_scale_by_hand(tmp_path: Path) -> None:
    videos = [Video("a", save(tmp_path / "a.npy", [[1, 5, -2]])), Video("b", save(tmp_path / "b.npy", [[3, 5, 0], [5, 5, 2]]))]
    mean, std = measure_scale(FeatureSource(SAMPLING), videos)
    assert mean.tolist() == [3, 5, 0]
    np.testing.assert_allclose(std, [np.sqrt(8 / 3), 1, np.sqrt(8 / 3)], rtol=1e-6)
    turned = save(tmp_path / "c.npy", np.array([[1, 3, 5], [5, 5, 5], [-2, 0, 2]]))
    assert torch.equal(measure_scale(FeatureSource(SAMPLING, transposed=True), [Video("c", turned)])[1], std)


def test_streams_are_joined_along_the_channels(tmp_path: Path) -> None:
    video = Video("a", ramp(tmp_path / "rgb.npy", 9), fps=12, more=(save(tmp_path / "flow.npy", np.full((8, 1), 5)),))
    source = FeatureSource(SAMPLING)
    assert source.timeline(video).cells == 8
    inputs, mask = source.load(video, Window(2, 8))
    assert inputs.tolist() == [[2, 3, 4, 5, 6, 7, 0, 0], [7] * 6 + [0, 0], [5] * 6 + [0, 0]]
    assert mask.tolist() == [True] * 6 + [False] * 2
    shorter = Video("b", video.path, fps=12, more=(save(tmp_path / "short.npy", np.zeros((6, 1))),))
    with pytest.raises(UserError, match=r"rgb\.npy: its streams have 9, 6 time steps"):
        source.load(shorter, Window(0, 8))


def test_a_whole_video_resized_to_the_window(tmp_path: Path) -> None:
    sampling = SamplingConfig(mode="resize", window=4, snippet_stride=2)
    source, video = FeatureSource(sampling), Video("a", ramp(tmp_path / "a.npy", 8), duration=10.0)
    line = source.timeline(video)
    assert (line.cells, line.duration) == (4, 10.0)
    (window,) = source.windows(video)
    inputs, mask = source.load(video, window)
    # Each cell lies between two time steps.
    assert inputs.tolist() == [[0.5, 2.5, 4.5, 6.5], [7] * 4]
    assert mask.all()


def test_windows_are_padded_and_a_longer_one_keeps_its_length(tmp_path: Path) -> None:
    source, video = FeatureSource(SAMPLING), Video("a", ramp(tmp_path / "a.npy"), fps=12)
    for window, valid, size in ((Window(0, 8), 8, 8), (Window(5, 3), 3, 8), (Window(20, 8), 3, 8), (Window(0, 23), 23, 23)):
        inputs, mask = source.load(video, window)
        assert inputs.shape == (2, size)
        assert inputs[0].tolist() == [*range(window.first, window.first + valid), *[0] * (size - valid)]
        assert mask.tolist() == [True] * valid + [False] * (size - valid)
    with pytest.raises(UserError, match=r"a\.npy: no feature for cell 23 and after it"):
        source.load(video, Window(23, 8))


def test_the_frame_rate_is_frames_per_second_else_what_is_given(tmp_path: Path) -> None:
    path, source = ramp(tmp_path / "a.npy"), FeatureSource(SAMPLING)
    assert source.timeline(Video("a", path, 4.0, 50, 12.0)) == Timeline(4.0, 12.5, 50, 23)
    assert source.timeline(Video("a", path, 4.0, None, 12.0)) == Timeline(4.0, 12.0, None, 23)
    assert source.timeline(Video("a", path, None, 60, 12.0)) == Timeline(5.0, 12.0, 60, 23)
    # 22 steps of 2 frames, and 2 frames before the first centre and after the last.
    assert source.timeline(Video("a", path, fps=12.0)) == Timeline(4.0, 12.0, None, 23)
    assert FeatureSource(SamplingConfig(snippet_stride=4)).timeline(Video("a", path, fps=23.0)).duration == 4.0
    with pytest.raises(UserError, match=r"a\.npy: nothing says how many frames per second.*--fps"):
        source.timeline(Video("a", path, 4.0, None, None))


def test_all_files_have_the_channels_of_the_model_or_of_the_first(tmp_path: Path) -> None:
    two, three = ramp(tmp_path / "a.npy"), save(tmp_path / "b.npy", np.zeros((5, 3)))
    with pytest.raises(UserError, match=r"a\.npy: 2 channels, where 3 are expected \(file: 23 time steps\)"):
        FeatureSource(SAMPLING, channels=3).timeline(Video("a", two, fps=12))
    source = FeatureSource(SAMPLING)
    source.timeline(Video("a", two, fps=12))
    with pytest.raises(UserError, match=r"b\.npy: 3 channels, where 2 are expected"):
        source.timeline(Video("b", three, fps=12))


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", [[0, 1], [np.nan, 2]])
    with pytest.raises(UserError, match=r"a\.npy: some features are not finite"):
        FeatureSource(SAMPLING).load(Video("a", path, fps=12), Window(0, 2))


def test_whole_videos_of_one_length_share_a_batch(tmp_path: Path) -> None:
    lengths = [5, 8, 9, 9, 9, 3]
    videos = [Video(str(number), ramp(tmp_path / f"{number}.npy", length), fps=12) for number, length in enumerate(lengths)]
    batches = list(inference_batches(videos, FeatureSource(SAMPLING), 2))
    # Shorter ones are padded to the model's window of 8.
    assert [(inputs.shape, [window.video for window in windows]) for inputs, _, windows in batches] == [
        ((2, 2, 8), ["0", "1"]), ((2, 2, 9), ["2", "3"]), ((1, 2, 9), ["4"]), ((1, 2, 8), ["5"])]
    masks = [mask for _, group, _ in batches for mask in group]
    assert [int(mask.sum()) for mask in masks] == lengths
    assert all(mask[:length].all() for mask, length in zip(masks, lengths, strict=True))


def test_inference_over_a_dataset(feature_toy: Path) -> None:
    dataset = load_dataset(feature_toy)
    source = open_source(dataset, SAMPLING)
    videos = [dataset.video(record) for record in dataset.split("test")]
    ((inputs, masks, windows),) = inference_batches(videos, source, 4)
    assert inputs.shape == (2, 2, 23)
    assert inputs[:, 0].tolist() == [list(range(23))] * 2
    assert inputs[:, 1, 0].tolist() == [108, 109]
    assert masks.all()
    assert windows == [VideoWindow(name, Window(0, 23), 0, 12.0, 4.0) for name in ("testing_0", "testing_1")]
    # Feature t is centred on frame 2 t + 2: "run" from frame 12 to 36, "jump" from 0 to 48.
    actions = ActionGrid(dataset, "test", source)
    assert actions.inside("testing_0", windows[0].window)[0].tolist() == [[5, 17]]
    # What lies before the first centre and after the last is clipped.
    assert actions.of("testing_1")[0].tolist() == [[-1, 23]]
    assert actions.inside("testing_1", windows[1].window)[0].tolist() == [[0, 23]]


def test_training_on_features(feature_toy: Path) -> None:
    dataset = load_dataset(feature_toy)
    source = open_source(dataset, SAMPLING)
    data, actions = TrainingSet(dataset, "train", source), ActionGrid(dataset, "train", source)
    # 23 features are 3 windows of 8, in each of the 4 videos.
    assert len(data.samples) == 12
    order = np.random.default_rng([1, 0]).permutation(12)
    (batch,) = Draws(data, 12, 1).epoch(0)
    assert batch.inputs.shape == (12, 2, 8)
    assert batch.masks.all()
    starts = set()
    for row, index in enumerate(order):
        first = int(batch.inputs[row, 0, 0])
        starts.add(first)
        assert batch.inputs[row, 0].tolist() == list(range(first, first + 8))
        expected = actions.inside(data.samples[index].name, Window(first, 8), least=0.5)
        assert torch.equal(batch.segments[row], expected[0])
        assert torch.equal(batch.labels[row], expected[1])
    assert len(starts) > 3
    (again,) = Draws(data, 12, 1).epoch(0)
    assert torch.equal(batch.inputs, again.inputs)


def test_a_short_video_is_cropped_to_nine_tenths_and_padded(feature_toy: Path) -> None:
    dataset = load_dataset(feature_toy)
    data = TrainingSet(dataset, "train", open_source(dataset, SAMPLING.model_copy(update={"window": 32})))
    (batch,) = Draws(data, 100, 0).epoch(0)
    assert batch.inputs.shape == (4, 2, 32)
    for inputs, mask in zip(batch.inputs, batch.masks, strict=True):
        valid = int(mask.sum())
        assert 21 <= valid <= 23
        assert mask.tolist() == [True] * valid + [False] * (32 - valid)
        assert (inputs[:, valid:] == 0).all()
        assert (inputs[1, :valid] >= 100).all()


def test_the_scale_is_that_of_the_training_videos_that_are_not_held_out(feature_toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(feature_toy.read_text() + f"normalise: training\nroot: {feature_toy.parent}\n")
    config = actionformer(load_dataset(path))
    assert config.backbone == FeatureConfig(channels=2, normalise=True)
    detector = Detector(config)
    measure_features(detector, load_dataset(path), open_source(load_dataset(path), config.sampling))
    # The second channel is 100 + 3, 4, 6 and 7; the others are held out.
    np.testing.assert_allclose(detector.standardise.mean, [11, 105])
    np.testing.assert_allclose(detector.standardise.std, [np.sqrt((23**2 - 1) / 12), np.sqrt(2.5)], rtol=1e-6)
    assert actionformer(load_dataset(feature_toy)).backbone == FeatureConfig(channels=2)


def actionformer(dataset: Dataset) -> DetectorConfig:
    return config_for("actionformer-nano", dataset).model_copy(update={"sampling": SamplingConfig(mode="whole", window=32)})


samplings = st.builds(SamplingConfig, mode=st.sampled_from(["sliding", "whole"]), window=st.integers(1, 40),
                      snippet_stride=st.integers(1, 30), offset_frames=st.integers(0, 20))


@settings(max_examples=60)
@given(sampling=samplings, length=st.integers(1, 200), fps=st.floats(1, 120), known=st.booleans())
def test_every_feature_is_looked_at(tmp_path_factory: pytest.TempPathFactory, sampling: SamplingConfig, length: int, fps: float,
                                    known: bool) -> None:
    path = ramp(tmp_path_factory.getbasetemp() / "property.npy", length)
    source = FeatureSource(sampling)
    frames = (length - 1) * sampling.snippet_stride + 1
    video = Video("v", path, frames / fps, frames if known else None, fps)
    seen: set[int] = set()
    for window in source.windows(video):
        inputs, mask = source.load(video, window)
        assert inputs.shape[1] == max(sampling.window, window.cells)
        seen |= set(inputs[0, mask].int().tolist())
    assert seen == set(range(length))


@settings(max_examples=60)
@given(sampling=samplings, cells=st.lists(st.floats(0, 40, width=32), min_size=2, max_size=2).map(sorted), first=st.integers(0, 50),
       fps=st.floats(1, 120))
def test_cells_to_seconds_and_back(feature_toy: Path, sampling: SamplingConfig, cells: list[float], first: int, fps: float) -> None:
    """With a frame rate alone, the grid and seconds are each other's inverse, in any window."""
    from tadshrink.data.annotations import Action, VideoRecord
    from tadshrink.data.windows import actions_in_cells

    found = to_seconds(Detections(np.float32([cells]), np.float32([1]), np.array([0])), first * sampling.snippet_stride, sampling, fps, 1e9)
    start, end = found.segments[0].tolist()
    record = VideoRecord("v", "testing", 1e9, (Action(start, end, "x"),))
    back = actions_in_cells(record, Timeline(1e9, fps, None, 100), sampling)[0] - first
    np.testing.assert_allclose(back, cells, atol=1e-2 if sampling.snippet_stride == 1 else 1e-3)
