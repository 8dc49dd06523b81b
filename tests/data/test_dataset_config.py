from __future__ import annotations

import pytest

from tadshrink.data.dataset_config import DatasetConfig, parse_dataset_config
from tadshrink.errors import UserError
from tadshrink.models.config import SamplingConfig

COMMON = "name: toy\nannotations: a.json\nclasses: [x, y]\n"
VIDEOS, FEATURES = COMMON + "videos: clips\n", COMMON + "features: feats\n"


def parse(text: str) -> DatasetConfig:
    return parse_dataset_config(text, "toy.yaml")


def test_either_videos_or_features() -> None:
    videos, features = parse(VIDEOS + "extension: mkv\n"), parse(FEATURES)
    assert (videos.kind, videos.folders, videos.suffix) == ("videos", ("clips",), ".mkv")
    assert (features.kind, features.folders, features.suffix) == ("features", ("feats",), ".npy")


def test_what_a_dataset_decides_of_a_models_sampling() -> None:
    videos = parse(VIDEOS + "mode: resize\nwindow: 192\nframes_per_cell: 4\nframe_size: 224\n").sampling
    assert SamplingConfig().model_copy(update=videos) == SamplingConfig(mode="resize", window=192, frames_per_cell=4, frame_size=224)
    features = parse(FEATURES + "mode: whole\nwindow: 2304\noffset_frames: 8\n").sampling
    assert features == {"mode": "whole", "window": 2304, "snippet_stride": 4, "offset_frames": 8}


@pytest.mark.parametrize(("text", "message"), [
    (COMMON, "features: .*give either 'videos' or 'features'"),
    (VIDEOS + "features: feats\n", "features: .*give either 'videos' or 'features'"),
    (VIDEOS + "mode: whole\n", "mode: .*videos are sampled in mode sliding or resize, not 'whole'"),
    (FEATURES + "mode: diagonal\n", "mode: .*features are sampled in mode sliding or whole or resize, not 'diagonal'"),
    (FEATURES + "feature_extension: docx\n", "feature_extension: .*no reader for 'docx'; there is one for npy"),
    (FEATURES + "normalise: layer\n", "normalise: "),
    (FEATURES + "fps: 0\n", "fps: "),
    (FEATURES + "fps: .inf\n", "fps: "),
    (FEATURES + "offset_frames: .nan\n", "offset_frames: "),
    (COMMON + "features: []\n", "features: .*nothing is listed"),
    (VIDEOS.replace("[x, y]", "[]"), "classes: .*nothing is listed"),
    (VIDEOS + "rule: coco\n", "rule: .*'activitynet' or 'thumos14'"),
    (VIDEOS + "tiou: []\n", "tiou: "),
    (VIDEOS + "tiou: [0.5, 0.5]\n", "tiou: .*listed more than once: 0.5"),
    (VIDEOS + "tiou: [50]\n", "tiou.0: "),
    (VIDEOS + "annotation_format: coco\n", "annotation_format: "),
    (VIDEOS + "label: action\n", "label: "),
])
def test_what_does_not_fit_together(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(text)


def test_problems_of_fields_and_of_their_combination_come_together() -> None:
    with pytest.raises(UserError) as caught:
        parse("name: toy\nclasses: [x, x]\nvideos: a\nfeatures: b\nmode: diagonal\nfps: -1\n")
    for key in ("annotations:", "classes:", "features:", "mode:", "fps:"):
        assert key in str(caught.value)
    assert "\n" not in str(caught.value)
