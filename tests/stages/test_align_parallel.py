"""Alignment by two processes against the same by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.compress.settings import AlignSettings
from tadshrink.models.detector import Detector
from tadshrink.profiling.windows import example_window
from tadshrink.stages.align import align
from tadshrink.stages.drop import drop
from tests.torchrun import by_two

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no processes")


@pytest.fixture(scope="module")
def steady(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher and a student without stochastic depth, whose draws differ from process to process."""
    folder = tmp_path_factory.mktemp("parallel")
    config = tiny.config.model_copy(update={name: getattr(tiny.config, name).model_copy(update={"drop_path": 0.0})
                                            for name in ("backbone", "head")})
    torch.manual_seed(1)
    save_checkpoint(folder / "teacher.pth", Checkpoint(config.model_dump(mode="json"), Detector(config).state_dict(), list(config.classes)))
    drop(folder / "teacher.pth", folder / "student.pth", [1])
    return folder


def aligned_by_two(tiny, folder: Path, output: Path, *options: str) -> tuple[dict[str, Any], str]:
    """What the first of two processes printed as JSON, and what both said."""
    done = by_two("align", folder / "student.pth", "--teacher", folder / "teacher.pth", "--dataset", tiny.yaml, "--epochs", 2,
                        "--device", "cpu", "-o", output, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("settings", [
    pytest.param({}, id="default"),
    pytest.param({"init": "linear", "lora_blocks": "after-cut", "cls_kd": "decoupled", "mid_weight": 1.0}, id="more", marks=pytest.mark.slow)])
def test_two_processes_train_as_one_does(tiny, steady: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    options = [str(part) for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    two, said = aligned_by_two(tiny, steady, tmp_path / "two.pth", *options)
    one = align(steady / "student.pth", steady / "teacher.pth", tiny.choice, tmp_path / "one.pth", AlignSettings(epochs=2, **settings), "cpu")
    assert [curve.keys() for curve in two["curve"]] == [curve.keys() for curve in one.curve]
    for ours, theirs in zip(two["curve"], one.curve, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    with torch.inference_mode():
        first, second = (tiny.opened(tmp_path / f"{name}.pth").detector(*example_window(tiny.config)) for name in ("one", "two"))
    torch.testing.assert_close(second.logits(), first.logits(), rtol=0, atol=1e-3)
    torch.testing.assert_close(second.segments(), first.segments(), rtol=0, atol=1e-2)
    # One process wrote, and one talked.
    assert sorted(item.name for item in tmp_path.iterdir()) == ["one.pth", "two.pth"]
    assert said.count("parameters are trained") == 1
