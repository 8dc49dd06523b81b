from __future__ import annotations

from pathlib import Path

from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.profiling.macs import parameters
from tadshrink.stages.drop import drop
from tadshrink.stages.profile import profile


def test_a_checkpoint_that_lost_a_block_costs_less_by_that_block(tiny, chain) -> None:
    before, after = (profile(path, runs=1, device="cpu").to_json() for path in (tiny.checkpoint, chain.merged))
    assert after["dropped"] == load_checkpoint(chain.merged).dropped
    assert len(after["macs"]["per_block"]) == 3
    assert before["macs"]["total"] - after["macs"]["total"] == before["macs"]["per_block"][0]
    detector = tiny.opened().detector
    assert before["params"] == parameters(detector)
    assert before["params"] - after["params"] == parameters(detector.blocks[0])


def test_the_model_is_described_by_its_architecture(tiny, tmp_path: Path) -> None:
    assert profile(tiny.checkpoint, runs=1, device="cpu").to_json()["arch"] == tiny.config.model_dump(mode="json")


def test_halves_are_told(tiny, tmp_path: Path) -> None:
    drop(tiny.checkpoint, tmp_path / "a.pth", ["2.mlp", 0])
    result = profile(tmp_path / "a.pth", 1, "cpu")
    assert result.dropped == [0, "2.mlp"]
    assert result.summary.split(" · ")[1].endswith("blocks 0, 2.mlp dropped")
    assert result.macs.block_indices == [1, 2, 3]
    assert result.macs.per_block[1] < result.macs.per_block[0]
