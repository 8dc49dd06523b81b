from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import index_video
from tadshrink.recognition.data import load_recognition
from tadshrink.recognition.synthetic import ACTION, CLASSES, FPS, NAME, VIDEO, make_synthetic_clips, plan_clip, split_sizes
from tests.clips import TinyClips


def test_the_set_has_every_class_in_every_split(tiny_clips: TinyClips) -> None:
    data = load_recognition(NAME, tiny_clips.root)
    assert data.classes == CLASSES
    for split, size in {"training": 24, "testing": 16}.items():
        records = [record for record in data.records if record.subset == split]
        assert len(records) == size
        assert {sum(record.label == name for record in records) for name in CLASSES} == {size // len(CLASSES)}
    assert data.split("heldout")
    index = index_video(tiny_clips.video())
    assert index.fps == FPS
    assert VIDEO[0] <= index.duration <= VIDEO[1]


def frames(path: Path) -> torch.Tensor:
    return FrameStore(32, crop=False).frames(path, np.arange(index_video(path).frames))


def test_the_same_seed_gives_the_same_set_and_a_larger_one_contains_it(tiny_clips: TinyClips, tmp_path: Path) -> None:
    make_synthetic_clips(tmp_path, seed=2, videos=45)
    make_synthetic_clips(tmp_path / "other", seed=3, videos=5)
    ours, larger = ((root / "clips.csv").read_text().splitlines() for root in (tiny_clips.root / NAME, tmp_path))
    assert len(larger) == 46
    assert set(ours) <= set(larger)
    name = tiny_clips.video().name
    assert frames(tiny_clips.video()).shape[2:] == (32, 40)
    assert torch.equal(frames(tiny_clips.video()), frames(tmp_path / "videos" / name))
    same, other = frames(tmp_path / "videos" / name), frames(tmp_path / "other" / "videos" / name)
    assert same.shape != other.shape or not torch.equal(same, other)


def test_plans_have_one_short_action_at_any_place() -> None:
    plans = [plan_clip("nod", np.random.default_rng(seed)) for seed in range(500)]
    spans = np.array([(start / plan.frames, (stop - start) / FPS, plan.frames / FPS) for plan in plans for start, stop, _ in plan.actions])
    assert len(spans) == len(plans)
    assert all(0 < start < stop < plan.frames for plan in plans for start, stop, _ in plan.actions)
    assert spans[:, 0].min() < 0.1 and spans[:, 0].max() > 0.7
    assert spans[:, 1].min() >= ACTION[0] - 1 / FPS and spans[:, 1].max() <= ACTION[1]
    assert spans[:, 2].min() >= VIDEO[0] - 1 / FPS and spans[:, 2].max() <= VIDEO[1]


@pytest.mark.parametrize(("videos", "training", "testing"), [(10, 6, 4), (12, 8, 4), (1000, 600, 400)])
def test_split_sizes_by_hand(videos: int, training: int, testing: int) -> None:
    assert split_sizes(videos) == {"training": training, "testing": testing}
