from __future__ import annotations

import json
from pathlib import Path

import pytest

from tadshrink.errors import UserError
from tadshrink.models.body import narrowed
from tadshrink.profiling.depth_vs_width import TOGETHER, depth_vs_width, widths
from tadshrink.profiling.macs import count_macs, parameters
from tadshrink.profiling.running import Measure
from tadshrink.profiling.subject import Sketch, Subject, sketched
from tadshrink.profiling.windows import blank_window

pytestmark = pytest.mark.usefixtures("counted_once")
ONCE = Measure(runs=2, warmup=0, device="cpu")
YAML = """
backbone: {width: 32, depth: 4, heads: 4, table_size: 32}
head: {width: 4, heads: 2, levels: 2, regression_ranges: [[0, 4], [4, 100]]}
sampling: {window: 8, frames_per_cell: 2, frame_size: 32}
"""


@pytest.fixture
def arch(tmp_path: Path) -> Sketch:
    (tmp_path / "small.yaml").write_text(YAML)
    return Sketch(str(tmp_path / "small.yaml"))


def test_both_save_the_same(arch: Sketch) -> None:
    result = depth_vs_width(Subject(arch), ONCE, [0.2, 0.4])
    full, *rest = result.variants
    assert [(one.kind, one.saving) for one in result.variants] == [("full", 0), ("depth", 0.2), ("width", 0.2), ("depth", 0.4), ("width", 0.4)]
    # There are 8 x 2 x 2 tokens in the one chunk, and a hidden unit has a row and a column of 32 weights.
    unit = TOGETHER * 2 * 32 * 32
    for depth, width in zip(rest[::2], rest[1::2], strict=True):
        assert 0 < width.macs < full.macs
        assert abs(depth.macs - width.macs) <= unit
        assert depth.params < full.params
    assert rest[0].change == {"dropped": [3]}
    assert rest[1].change == {"heads": [3] * 4, "hidden": [96] * 4}
    assert (full.speedup.low, full.speedup.median, full.speedup.high) == (1, 1, 1)
    assert {one.latency.runs for one in result.variants} == {2}
    told = result.to_json()
    assert json.loads(json.dumps(told)) == told
    assert list(told["variants"][1]) == ["kind", "saving", "dropped", "macs", "params", "latency_ms", "speedup"]


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "blocks"), [("videomae-s", 3), ("videomae-b", 2), ("videomae-l", 6)])
def test_the_released_sizes_come_out_equal_within_one_unit(arch: str, blocks: int) -> None:
    config = Sketch(arch).config()
    detector = sketched(config, empty=True)
    report = count_macs(detector, *blank_window(config))
    heads, hidden = widths(detector, report, blocks * report.per_block[0])
    assert max(heads) - min(heads) <= 1
    assert max(hidden) - min(hidden) <= TOGETHER
    before = parameters(detector)
    narrow = sketched(narrowed(detector.body, config, tuple(zip(heads, hidden, strict=True))), empty=True)
    removed = report.total - count_macs(narrow, *blank_window(config)).total
    unit = TOGETHER * report.per_half["mlp"][0] // (4 * config.backbone.width)
    assert abs(removed - blocks * report.per_block[0]) <= unit
    assert parameters(narrow) < before


@pytest.mark.parametrize(("saving", "message"), [
    (0.99, "nothing of an MLP would be left"), (0.01, "less than half a block"), (1.5, "150.0%"), (0, "0.0%")])
def test_a_saving_out_of_reach(tmp_path: Path, saving: float, message: str) -> None:
    # With one head all the MACs come from the MLPs.
    (tmp_path / "a.yaml").write_text(YAML.replace("heads: 4, table", "heads: 1, table"))
    with pytest.raises(UserError, match=message):
        depth_vs_width(Subject(Sketch(str(tmp_path / "a.yaml"))), ONCE, [saving])


def test_features_have_no_widths() -> None:
    with pytest.raises(UserError, match="only the blocks of a video backbone"):
        depth_vs_width(Subject(Sketch("actionformer-nano"), frames=64), ONCE)
