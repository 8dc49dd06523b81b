from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.data.video import FrameStore
from tadshrink.device import choose_compute
from tadshrink.errors import UserError
from tadshrink.models.presets import PRESETS
from tadshrink.stages import train as module
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.evaluate import evaluate
from tadshrink.stages.train import train
from tadshrink.training.draws import Draws
from tadshrink.training.settings import TrainSettings

SETTINGS = TrainSettings(epochs=2, batch_size=4, seed=7)


@pytest.fixture(autouse=True)
def preset(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny detector as a preset that was made for other windows than the dataset's."""
    config = tiny.config
    monkeypatch.setitem(PRESETS, "tiny", {
        "backbone": config.backbone, "head": config.head, "sampling": config.sampling.model_copy(update={"window": 64, "frame_size": 48})})


def test_the_checkpoint_is_for_the_datasets_classes_and_windows(tiny, tmp_path: Path) -> None:
    result = train(tiny.choice, tmp_path / "a.pth", "tiny", SETTINGS, "cpu")
    made = load_checkpoint(tmp_path / "a.pth")
    assert made.classes == list(tiny.config.classes)
    assert made.architecture["sampling"] == tiny.config.sampling.model_dump(mode="json") | {"fps": 8.0}
    assert made.checksum == result.checksum
    assert [curve.keys() for curve in result.curve] == [{"cls", "reg"}] * 2
    entry = made.history[0]
    assert (entry["command"], entry["parent"]) == ("train", None)
    assert entry["arguments"] == {"dataset": str(tiny.yaml), "root": None, "arch": "tiny", **SETTINGS.model_dump()}
    assert entry["metrics"] == {"heldout": result.heldout, "curve": result.curve}
    assert result.heldout == evaluate(tmp_path / "a.pth", tiny.choice, "heldout", device="cpu").result.to_json()


def test_interrupted_and_repeated_it_gives_the_same_file(tiny, tmp_path: Path, interrupt) -> None:
    straight, broken = tmp_path / "a.pth", tmp_path / "b.pth"
    train(tiny.choice, straight, "tiny", SETTINGS, "cpu")
    steps = Draws(module.TrainingSet(tiny.data, "train", module.open_source(tiny.data, tiny.config.sampling)), 4, 0).batches_per_epoch
    with pytest.raises(KeyboardInterrupt):
        train(tiny.choice, broken, "tiny", SETTINGS, "cpu", interrupt("train", steps + 1))
    assert not broken.exists()
    resumed = interrupt()
    train(tiny.choice, broken, "tiny", SETTINGS, "cpu", resumed)
    assert any("going on after epoch 1 of 2" in note for note in resumed.notes)
    assert broken.read_bytes() == straight.read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.pth", "b.pth"]


def test_it_goes_on_only_in_the_same_number_format(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt) -> None:
    steps = Draws(module.TrainingSet(tiny.data, "train", module.open_source(tiny.data, tiny.config.sampling)), 4, 0).batches_per_epoch
    with pytest.raises(KeyboardInterrupt):
        train(tiny.choice, tmp_path / "a.pth", "tiny", SETTINGS, "cpu", interrupt("train", steps + 1))
    monkeypatch.setattr(module, "choose_compute", lambda *given: replace(choose_compute(*given), dtype=torch.bfloat16))
    again = interrupt("train", 1)
    with pytest.raises(KeyboardInterrupt):
        train(tiny.choice, tmp_path / "a.pth", "tiny", SETTINGS, "cpu", again)
    assert any("starting anew" in note for note in again.notes)


def test_several_processes_are_one_line(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="train takes one process, and here are 2"):
        train(tiny.choice, tmp_path / "a.pth")


def test_another_seed_gives_another_model(tiny, tmp_path: Path) -> None:
    first, second = (train(tiny.choice, tmp_path / f"{seed}.pth", "tiny", TrainSettings(epochs=0, seed=seed), "cpu") for seed in (1, 2))
    assert first.checksum != second.checksum


def test_held_out_and_test_videos_are_never_trained_on(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    frames = FrameStore.frames

    def spy(store: FrameStore, path: Path, indices: object, rate: float | None) -> object:
        seen.add(path.stem)
        return frames(store, path, indices, rate)

    monkeypatch.setattr(FrameStore, "frames", spy)
    monkeypatch.setattr(module, "evaluate_detector", lambda *rest, **more: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(tiny.choice, tmp_path / "a.pth", "tiny", SETTINGS, "cpu")
    assert seen == {record.name for record in tiny.data.split("train")}
    assert len(seen) == 8


def test_bad_input_is_found_before_the_work(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fit", None)
    data = yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder), "heldout": 0.001}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(UserError, match=r"split 'heldout' has no videos"):
        train(DatasetChoice(str(tmp_path / "d.yaml")), tmp_path / "a.pth", "tiny", SETTINGS, "cpu")
    with pytest.raises(UserError, match=r"unknown architecture 'resnet'"):
        train(tiny.choice, tmp_path / "a.pth", "resnet", SETTINGS, "cpu")
    with pytest.raises(UserError, match="not a regular file"):
        train(tiny.choice, tmp_path, "tiny", SETTINGS, "cpu")
    assert [item.name for item in tmp_path.iterdir()] == ["d.yaml"]
