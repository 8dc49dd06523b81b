from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tadshrink.data.datasets import load_dataset
from tadshrink.data.synthetic import CLASSES, FPS, SIZE, SPLITS, make_synthetic, plan_video, split_sizes, write_video
from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import index_video
from tadshrink.reporting import Advance, Reporter


def database(root: Path) -> dict[str, Any]:
    return json.loads((root / "annotations.json").read_text())["database"]


def frames(root: Path, name: str) -> torch.Tensor:
    path = root / "videos" / f"{name}.mp4"
    return FrameStore(SIZE).frames(path, np.arange(index_video(path).frames))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "synthetic"
    assert make_synthetic(root, seed=1, videos=10) == root / "annotations.json"
    return root


def test_the_same_seed_gives_the_same_set(made: Path, tmp_path: Path) -> None:
    make_synthetic(tmp_path, seed=1, videos=10)
    assert (tmp_path / "annotations.json").read_bytes() == (made / "annotations.json").read_bytes()
    for name in list(database(made))[::3]:
        assert torch.equal(frames(tmp_path, name), frames(made, name))


def test_another_seed_gives_another_set(made: Path, tmp_path: Path) -> None:
    make_synthetic(tmp_path, seed=2, videos=10)
    assert database(tmp_path).keys() == database(made).keys()
    assert all(database(tmp_path)[name] != database(made)[name] for name in database(made))


def test_the_splits_have_nothing_in_common(made: Path) -> None:
    timelines = [(record["frame"], str(record["annotations"])) for record in database(made).values()]
    assert len(set(timelines)) == len(timelines)


def test_a_larger_set_contains_the_smaller(made: Path, tmp_path: Path) -> None:
    make_synthetic(tmp_path, seed=1, videos=13)
    large = database(tmp_path)
    assert len(large) == 13
    assert database(made).items() <= large.items()
    for name in list(database(made))[1::3]:
        assert torch.equal(frames(tmp_path, name), frames(made, name))


def test_files_agree_with_the_annotations(made: Path) -> None:
    records = load_dataset("synthetic", made.parent).records
    assert {subset: sum(record.subset == subset for record in records) for subset in SPLITS} == SPLITS
    for record in records:
        index = index_video(made / "videos" / f"{record.name}.mp4")
        assert (index.frames, index.fps) == (database(made)[record.name]["frame"], float(FPS))
        assert record.duration == index.duration
        assert frames(made, record.name).shape == (index.frames, 3, SIZE, SIZE)


def test_frames_change_from_one_to_the_next_and_are_not_blank(made: Path) -> None:
    clip = frames(made, "training_0000").float()
    assert (clip.diff(dim=0).abs().mean(dim=(1, 2, 3)) > 0.5).all()
    assert (clip.std(dim=(1, 2, 3)) > 10).all()


@given(st.integers(0, 300))
def test_split_sizes_add_up_and_never_shrink(videos: int) -> None:
    sizes, larger = split_sizes(videos), split_sizes(videos + 1)
    assert sum(sizes.values()) == videos
    assert all(larger[split] >= sizes[split] for split in SPLITS)
    assert videos < 10 or all(sizes.values())


def test_split_sizes_by_hand() -> None:
    assert split_sizes(400) == {"training": 280, "validation": 40, "testing": 80}
    assert split_sizes(12) == {"training": 9, "validation": 1, "testing": 2}


def test_plans() -> None:
    plans = [plan_video(np.random.default_rng(seed)) for seed in range(400)]
    labels = [label for plan in plans for _, _, label in plan.actions]
    assert set(labels) == set(CLASSES)
    assert min(labels.count(label) for label in CLASSES) > len(labels) / len(CLASSES) / 2
    assert 0.02 < np.mean([not plan.actions for plan in plans]) < 0.12
    for plan in plans:
        edges = [edge for start, end, _ in plan.actions for edge in (start, end)]
        assert edges == sorted(set(edges))
        assert all(0 < edge < plan.frames for edge in edges)


class Counting(Reporter):
    """Counts what is reported, and stops at the given number."""

    def __init__(self, stop: int | None = None) -> None:
        self.done, self.total, self.stop = 0, 0, stop

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        self.total = total

        def advance(count: int, text: str) -> None:
            self.done += count
            if self.done == self.stop:
                raise KeyboardInterrupt

        yield advance


def test_progress_is_reported(tmp_path: Path) -> None:
    reporter = Counting()
    make_synthetic(tmp_path, videos=3, reporter=reporter)
    assert (reporter.done, reporter.total) == (3, 3)


def test_an_interrupted_set_has_no_annotations_and_most_is_not_rendered(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt):
        make_synthetic(tmp_path, videos=60, reporter=Counting(stop=2))
    assert not (tmp_path / "annotations.json").exists()
    assert len(list((tmp_path / "videos").iterdir())) < 20


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (20, 16, 24, 3), dtype=np.uint8)
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", clip, Fraction(30000, 1001))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    index = index_video(tmp_path / "a.mp4")
    assert (index.frames, index.fps) == (20, 30000 / 1001)
