from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.errors import UserError
from tadshrink.profiling.macs import parameters
from tadshrink.profiling.running import Measure
from tadshrink.profiling.subject import Sketch, Subject
from tadshrink.stages.drop import drop
from tadshrink.stages.profile import depth_vs_width, profile, sweep

pytestmark = pytest.mark.usefixtures("counted_once")
ONCE = Measure(runs=1, warmup=0, device="cpu")


def test_a_checkpoint_that_lost_a_block_costs_less_by_that_block(tiny, chain) -> None:
    before, after = (profile(path, ONCE).to_json() for path in (tiny.checkpoint, chain.merged))
    assert after["dropped"] == load_checkpoint(chain.merged).dropped
    assert len(after["macs"]["per_block"]) == 3
    assert before["macs"]["total"] - after["macs"]["total"] == before["macs"]["per_block"][0]
    detector = tiny.opened().detector
    assert before["params"] == parameters(detector)
    assert before["params"] - after["params"] == parameters(detector.blocks[0])


def test_the_model_is_described_by_its_architecture(tiny) -> None:
    assert profile(tiny.checkpoint, None).to_json()["arch"] == tiny.config.model_dump(mode="json")


def test_halves_are_told(tiny, tmp_path: Path) -> None:
    drop(tiny.checkpoint, tmp_path / "a.pth", ["2.mlp", 0])
    result = profile(tmp_path / "a.pth", ONCE)
    assert result.dropped == [0, "2.mlp"]
    assert result.summary.split(" · ")[1].endswith("blocks 0, 2.mlp dropped")
    assert result.macs.block_indices == [1, 2, 3]
    assert result.macs.per_block[1] < result.macs.per_block[0]


def test_leaving_out_a_block_counts_like_dropping_it(tiny, tmp_path: Path) -> None:
    drop(tiny.checkpoint, tmp_path / "a.pth", [1])
    dropped, left_out = profile(tmp_path / "a.pth", None), profile(Subject(tiny.checkpoint, [1]), None)
    assert (left_out.macs, left_out.params, left_out.dropped) == (dropped.macs, dropped.params, [1])


def test_beside_another_one_of_windows_of_the_same_size(tiny, chain) -> None:
    result = profile(Subject(tiny.checkpoint, [1], frames=64), ONCE, versus=chain.merged)
    assert result.versus is not None
    assert (result.versus.latency.input_shape, result.timing.latency.input_shape) == ((1, 1, 3, 64, 32, 32),) * 2
    assert result.versus.macs_ratio == 1
    assert result.to_json()["versus"]["other"] == str(chain.merged)


def test_a_sketch_needs_no_file() -> None:
    result = profile(Sketch("videomae-nano", 3), None, "fvcore")
    assert (result.macs.convention, len(result.architecture.classes), result.timing) == ("fvcore", 3, None)


def test_a_picture_that_could_not_be_written_is_told_before_anything_is_measured(tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pictures cannot be written"):
        sweep(tmp_path / "none.pth", "batch", plot=tmp_path / "a.txt")
    result = sweep(tiny.checkpoint, "batch", [1, 2], ONCE, plot=tmp_path / "a.png")
    assert len(result.rows) == 2
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_depth_and_width_of_a_checkpoint(tiny) -> None:
    result = depth_vs_width(tiny.checkpoint, ONCE, [0.1])
    assert [one.kind for one in result.variants] == ["full", "depth", "width"]
