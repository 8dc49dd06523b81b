from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.data.annotations import Action, VideoRecord
from tadshrink.data.augment import AUGMENTATIONS, augment
from tadshrink.data.datasets import load_dataset
from tadshrink.data.features import FeatureSource
from tadshrink.data.sources import VideoSource, common_rate, feature_channels, file_source, model_kind, open_source
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.windows import Window, actions_in_cells
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig, SamplingConfig
from tests.data.broken import cut, write_table_first

SAMPLING = SamplingConfig(window=8, frames_per_cell=2, snippet_stride=2, frame_size=16)
VIDEO_MODEL = DetectorConfig(classes=("x",), sampling=SAMPLING)
FEATURE_MODEL = DetectorConfig(classes=("x",), backbone=FeatureConfig(channels=2), sampling=SAMPLING)


def test_a_dataset_is_opened_as_what_it_is(toy: Path, feature_toy: Path) -> None:
    videos, features = open_source(load_dataset(toy), SAMPLING), open_source(load_dataset(feature_toy), SAMPLING)
    assert isinstance(videos, VideoSource)
    assert isinstance(features, FeatureSource)
    assert (videos.kept_share, features.kept_share) == (0.75, 0.5)


def test_a_window_of_a_video(toy: Path) -> None:
    source = VideoSource(SAMPLING)
    video = Video("a", load_dataset(toy).root / "videos" / "testing_0.mp4")
    assert source.timeline(video) == Timeline(4.0, 12.0, 48, 24)
    inputs, mask = source.load(video, Window(20, 4))
    assert (inputs.shape, inputs.dtype) == ((1, 3, 16, 16, 16), torch.uint8)
    assert mask.tolist() == [True] * 4 + [False] * 4
    (changed, same_mask), (alike, _) = (source.draw(video, Window(20, 4), np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(changed, alike)
    assert torch.equal(same_mask, mask)
    assert torch.equal(changed[0], augment(inputs[0], np.random.default_rng(3)))
    assert not torch.equal(changed, inputs)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_training_sees_is_up_to_the_dataset(toy: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "toy.yaml").write_text(f"{toy.read_text()}root: {toy.parent}\naugment: {name}\n")
    dataset = load_dataset(tmp_path / "toy.yaml")
    source = open_source(dataset, SAMPLING)
    assert isinstance(source, VideoSource)
    assert source.augmentation is AUGMENTATIONS[name]
    # Whole frames for crops of any shape; centre squares otherwise.
    assert (source.training.size, source.training.crop) == ((18, False) if name == "reference" else (16, True))
    assert (source.training is source.frames) == (name != "reference")
    video = dataset.video(dataset.split("train")[0])
    (inputs, mask), (changed, same_mask) = source.load(video, Window(0, 8)), source.draw(video, Window(0, 8), np.random.default_rng(0))
    assert (changed.shape, changed.dtype) == (inputs.shape, inputs.dtype)
    assert torch.equal(mask, same_mask)
    assert torch.equal(changed, inputs) == (name == "none")


def test_of_a_video_that_was_cut_off_its_own_times_count(tmp_path: Path) -> None:
    whole = write_table_first(tmp_path / "whole.mp4")
    source, video = VideoSource(SAMPLING), Video("a", cut(whole, tmp_path / "a.mp4", 0.6), duration=1.92)
    line = source.timeline(video)
    there = source.frames.index(video.path).frames
    assert (line.fps, line.frames, line.cells) == (25.0, None, math.ceil(there / 2))
    assert line.duration == there / 25
    # An annotated action keeps its place; the annotated length of a whole file decides the rate.
    record = VideoRecord("a", "training", 1.92, (Action(0.4, 0.8, "x"),))
    assert actions_in_cells(record, line, SAMPLING).tolist() == [[5.0, 10.0]]
    assert source.timeline(Video("b", whole, duration=2.0)) == Timeline(2.0, 24.0, 48, 24)


def test_what_a_model_takes() -> None:
    assert (model_kind(VIDEO_MODEL), model_kind(FEATURE_MODEL)) == ("videos", "features")


def test_files_without_a_dataset(tmp_path: Path) -> None:
    videos, features = file_source(VIDEO_MODEL, tmp_path / "a.mkv"), file_source(FEATURE_MODEL, tmp_path / "a.npy")
    assert isinstance(videos, VideoSource)
    assert videos.frames.cache.max_bytes == 0
    assert isinstance(features, FeatureSource)
    assert features.channels == 2


@pytest.mark.parametrize(("config", "name", "message"), [
    (VIDEO_MODEL, "a.npy", "the model takes videos, not features.*npy"),
    (FEATURE_MODEL, "a.mp4", "the model takes features, not videos.*npy"),
    (VIDEO_MODEL.model_copy(update={"sampling": SamplingConfig(mode="whole")}), "a.mp4", "videos cannot be sampled in mode 'whole'"),
])
def test_files_that_a_model_cannot_take(tmp_path: Path, config: DetectorConfig, name: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"{name}: {message}"):
        file_source(config, tmp_path / name)


def test_channels_of_a_dataset(feature_toy: Path, tmp_path: Path) -> None:
    assert feature_channels(load_dataset(feature_toy)) == 2
    (tmp_path / "toy.yaml").write_text(feature_toy.read_text().replace("features: features", "features: none"))
    (tmp_path / "annotations.json").write_text((feature_toy.parent / "annotations.json").read_text())
    with pytest.raises(UserError, match=r"none: not one file of features is here"):
        feature_channels(load_dataset(tmp_path / "toy.yaml"))


def test_a_video_counted_at_another_rate(clips, numbers) -> None:
    sampling = SamplingConfig(window=8, snippet_stride=2, frame_size=16)
    path = clips("rate.mp4", fps=24, size=(32, 32))
    source, video = VideoSource(sampling, fps=12), Video("rate", path)
    line = source.timeline(video)
    assert (line.fps, line.frames, line.cells, line.duration) == (12, 24, 12, 2.0)
    inputs, mask = source.load(video, Window(2, 8))
    # Cells of 2 frames at 12 per second are 4 frames of this video.
    assert numbers(inputs[0].permute(1, 0, 2, 3)) == list(range(8, 40, 4))
    assert mask.all()


def test_nearly_the_same_rate_is_the_videos_own(clips) -> None:
    path = clips("rate.mp4", fps=24, size=(32, 32))
    line = VideoSource(SamplingConfig(window=8, snippet_stride=2, frame_size=16), fps=23.976).timeline(Video("rate", path))
    assert (line.fps, line.frames) == (24, 48)


def test_the_rate_that_videos_have_in_common(clips) -> None:
    source = VideoSource(SamplingConfig(window=8, snippet_stride=2, frame_size=16))
    one, other = Video("a", clips("rate.mp4", fps=24, size=(32, 32))), Video("b", clips("other.mp4", fps=30, size=(32, 32)))
    assert common_rate(source, [one, one]) == 24
    assert common_rate(source, [one, other]) is None
    assert common_rate(source, []) is None
