"""Every command on a detector that takes features, and on one that spreads its frames over the whole video."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.compress.alignment import AlignSettings
from tadshrink.compress.select_settings import SelectOptions, SelectSettings
from tadshrink.data.video_index import index_video
from tadshrink.models.config import DetectorConfig, FeatureConfig, HeadConfig, PostprocessConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.pipeline import run
from tadshrink.run_settings import RunSettings
from tadshrink.stages.align import align
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.detect import detect
from tadshrink.stages.drop import drop
from tadshrink.stages.evaluate import evaluate
from tadshrink.stages.merge import merge
from tadshrink.stages.select import select
from tadshrink.stages.train import train_task
from tadshrink.training.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("counted_once")
#: The split of each video is in its name; training_0, training_1 and others are held out.
NAMES = [f"training_{number}" for number in range(6)] + ["testing_0", "testing_1"]


@dataclass(frozen=True)
class Case:
    """A checkpoint, a dataset for it, and one of its files with the file's length in seconds."""

    checkpoint: Path
    choice: DatasetChoice
    file: Path
    duration: float
    fps: float | None


def write(folder: Path, config: DetectorConfig, database: dict[str, object], settings: dict[str, object]) -> None:
    torch.manual_seed(0)
    save_checkpoint(folder / "base.pth", Checkpoint(config.model_dump(mode="json"), Detector(config).state_dict(), list(config.classes)))
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    (folder / "data.yaml").write_text(yaml.safe_dump({"annotations": "annotations.json", "name": folder.name,
                                                      "classes": list(config.classes), **settings}))


def features(folder: Path, mode: str) -> Case:
    """Videos of different lengths; an action is a bump in the second channel."""
    folder.mkdir()
    rng, database = np.random.default_rng(0), {}
    for number, name in enumerate(NAMES):
        length = 60 + 15 * number
        values = rng.normal(size=(length, 5)).astype(np.float16)
        values[20:35, 1] += 4
        np.save(folder / f"{name}.npy", values)
        # A feature every 2 of 10 frames per second, the first around frame 4.
        database[name] = {"subset": name.split("_")[0], "duration": (2 * length + 6) / 10, "fps": 10,
                          "annotations": [{"segment": [4.4, 7.4], "label": "bump"}]}
    config = DetectorConfig(
        classes=("bump", "dip"), backbone=FeatureConfig(channels=5),
        head=HeadConfig(width=16, heads=2, levels=3, embed_layers=1, stem_layers=3, head_layers=1, attention_window=5,
                        regression_ranges=((0, 6), (6, 12), (12, 10000))),
        sampling=SamplingConfig(mode=mode, window=80, snippet_stride=2, offset_frames=4),
        postprocess=PostprocessConfig(pre_nms_top_k=60, max_detections=60),
    )
    write(folder, config, database, {"features": ".", "heldout": 0.4, "normalise": "training", **config.sampling.model_dump(
        include={"mode", "window", "snippet_stride", "offset_frames"})})
    # A loose file is as long as its features reach.
    return Case(folder / "base.pth", DatasetChoice(str(folder / "data.yaml")), folder / "testing_1.npy", (2 * 164 + 8) / 10, 10.0)


def resized(folder: Path, tiny) -> Case:
    """The tiny videos and detector, each video as one window."""
    folder.mkdir()
    config = tiny.config.model_copy(update={"sampling": tiny.config.sampling.model_copy(update={"mode": "resize"})})
    database = json.loads((tiny.folder / "annotations.json").read_text())["database"]
    write(folder, config, database, {**yaml.safe_load(tiny.yaml.read_text()), "mode": "resize", "videos": str(tiny.folder / "videos")})
    return Case(folder / "base.pth", DatasetChoice(str(folder / "data.yaml")), tiny.video(), index_video(tiny.video()).duration, None)


@pytest.fixture(scope="module", params=["whole", "sliding", "resize"])
def case(request: pytest.FixtureRequest, tiny, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("other") / request.param
    return resized(folder, tiny) if request.param == "resize" else features(folder, request.param)


def test_a_drop_by_hand(case: Case, tmp_path: Path) -> None:
    names = ("ranked", "dropped", "aligned", "merged")
    ranked, dropped, aligned, merged = (tmp_path / f"{name}.pth" for name in names)
    blocks = len(select(case.checkpoint, case.choice, ranked, SelectOptions(metric="loss"), device="cpu").ranking.candidates)
    assert len(drop(ranked, dropped).remaining) == blocks - 1
    result = align(dropped, case.checkpoint, case.choice, aligned, AlignSettings(epochs=1, batch_size=2), "cpu")
    assert all(np.isfinite(list(losses.values())).all() for losses in result.curve)
    assert merge(aligned, merged, device="cpu").max_difference < 1e-4
    assert load_checkpoint(merged).dropped == load_checkpoint(dropped).dropped
    assert evaluate(merged, case.choice, "heldout", device="cpu").videos > 0


@pytest.mark.parametrize("case", ["whole", pytest.param("sliding", marks=pytest.mark.slow), "resize"], indirect=True)
def test_a_run(case: Case, tmp_path: Path) -> None:
    settings = RunSettings(target="1", tolerance=100, latency_runs=1, select=SelectSettings(metric="mse"),
                           align=AlignSettings(epochs=1, batch_size=2))
    result = run(case.checkpoint, case.choice, tmp_path, settings, device="cpu").to_json()
    assert result["final"]["blocks"] == result["baseline"]["blocks"] - 1
    assert result["final"]["macs"] < result["baseline"]["macs"]


def test_detections_in_one_file(case: Case) -> None:
    result = detect(case.checkpoint, [case.file], fps=case.fps, device="cpu")
    assert result.failed == {}
    assert result.durations[case.file.stem] == pytest.approx(case.duration)
    found = result.detections[case.file.stem]
    assert len(found) > 10
    assert 0 <= found.segments.min() <= found.segments.max() <= case.duration + 0.01


def test_features_for_a_model_on_videos_and_the_reverse(case: Case, tiny, tmp_path: Path) -> None:
    other = tiny.video() if case.file.suffix == ".npy" else tmp_path / "a.npy"
    failed = detect(case.checkpoint, [other], device="cpu").failed
    assert "the model takes" in failed[str(other)]


@pytest.mark.parametrize("mode", ["whole", "sliding"])
def test_features_of_an_unknown_rate(tmp_path: Path, mode: str) -> None:
    case = features(tmp_path / mode, mode)
    failed = detect(case.checkpoint, [case.file], device="cpu").failed
    assert "nothing says how many frames per second" in failed[str(case.file)]


def test_a_detector_on_features_learns_where_the_actions_are(tmp_path: Path, fitted: Callable[[Case], Detector]) -> None:
    case = features(tmp_path / "features", "whole")
    detector = fitted(case)
    checkpoint = load_checkpoint(case.checkpoint)
    save_checkpoint(tmp_path / "trained.pth", Checkpoint(checkpoint.architecture, detector.state_dict(), checkpoint.classes))
    assert evaluate(tmp_path / "trained.pth", case.choice, "testing", device="cpu").average > 60


@pytest.fixture
def fitted() -> Callable[[Case], Detector]:
    from tadshrink.data.datasets import load_dataset
    from tadshrink.data.loader import TrainingSet
    from tadshrink.data.sources import open_source
    from tadshrink.reporting import SILENT
    from tadshrink.stages.common import open_detector

    def fit(case: Case) -> Detector:
        opened = open_detector(case.checkpoint, "cpu", SILENT)
        data = load_dataset(case.choice.name)
        training = TrainingSet(data, "train", open_source(data, opened.detector.config.sampling))
        task = train_task(opened.detector, training, TrainSettings(batch_size=2))
        optimizer = torch.optim.AdamW(opened.detector.parameters(), 3e-3)
        torch.manual_seed(0)
        for epoch in range(40):
            for batch in task.batches(epoch):
                optimizer.zero_grad()
                sum(task.losses(batch).values()).backward()
                optimizer.step()
        return opened.detector.eval()

    return fit
