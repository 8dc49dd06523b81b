"""Selection and whole runs by two processes against the same by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.stages.select import select
from tests.torchrun import by_torchrun, by_two

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no processes")


@pytest.mark.parametrize(("split", "options"), [
    pytest.param("heldout", {}, id="map"),
    pytest.param("training", {"race": True, "metric": "loss"}, id="race", marks=pytest.mark.slow),
    pytest.param("training", {"metric": "taylor", "unit": "mlp"}, id="taylor", marks=pytest.mark.slow)])
def test_two_processes_rank_as_one_does_bit_for_bit(tiny, tmp_path: Path, split: str, options: dict[str, Any]) -> None:
    flags = [part for name, value in options.items() for part in ([f"--{name}"] if value is True else [f"--{name}", value])]
    # Groups of one video: an odd number of groups, of which some are cut off by the rungs of a race.
    done = by_two("select", tiny.checkpoint, "--dataset", tiny.yaml, "--split", split, "--batch-size", 1, *flags, "--device", "cpu",
                       "-o", tmp_path / "two.pth", "--json")
    assert done.returncode == 0, done.stderr
    one = select(tiny.checkpoint, tiny.choice, tmp_path / "one.pth", SelectOptions(batch_size=1, **options), split, "cpu")
    two = json.loads(done.stdout)
    assert two["ranking"] == one.to_json()["ranking"]
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "two.pth").read_bytes()
    assert done.stderr.count("best to drop first") == 1
    assert sorted(item.name for item in tmp_path.iterdir()) == ["one.pth", "two.pth"]


@pytest.mark.slow
def test_a_run_by_two_processes(tiny, tmp_path: Path) -> None:
    command = ("run", tiny.checkpoint, "--dataset", tiny.yaml, "--target", 1, "--metric", "mse", "--tolerance", 100, "--epochs", 1,
               "--latency-runs", 1, "--work-dir", tmp_path / "w", "--json")
    done = by_torchrun(*command)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [step["kept"] for step in result["steps"]] == [True]
    assert load_checkpoint(result["output"]).checksum == result["checksum"]
    assert done.stderr.count("stopped because the target is met") == 1


@pytest.mark.slow
def test_an_error_of_both_is_told_once(tiny, tmp_path: Path) -> None:
    done = by_torchrun("select", tiny.checkpoint, "--dataset", tiny.yaml, "--split", "nosuch", "-o", tmp_path / "a.pth")
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "split 'nosuch' has no videos" in done.stderr
