from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib import image

from tadshrink.errors import UserError
from tadshrink.profiling.latency import Latency, Ratio
from tadshrink.profiling.memory import PeakMemory
from tadshrink.profiling.picture import plot_sweep
from tadshrink.profiling.running import Measure
from tadshrink.profiling.subject import Sketch, Subject
from tadshrink.profiling.sweep import Sweep, SweepRow, sweep
from tadshrink.profiling.throughput import Throughput
from tests.notes import Notes
from tests.profiling.models import VIDEO_YAML

pytestmark = pytest.mark.usefixtures("counted_once")
ONCE = Measure(runs=2, warmup=0, device="cpu")


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    (tmp_path / "small.yaml").write_text(VIDEO_YAML)
    return Subject(Sketch(str(tmp_path / "small.yaml")))


def test_frames(subject: Subject) -> None:
    """Shares of the own window of 16 frames; a quarter and a half of it are no whole chunks."""
    reporter = Notes()
    result = sweep(subject, "frames", None, ONCE, reporter=reporter)
    assert [row.value for row in result.rows] == [16, 32]
    assert [row.latency.input_shape for row in result.rows] == [(1, 1, 3, 16, 32, 32), (1, 1, 3, 32, 32, 32)]
    assert result.rows[0].macs < result.rows[1].macs
    assert [line.split(":")[0] for line in reporter.lines if "left out" in line] == ["frames 4 is left out", "frames 8 is left out"]
    assert (result.rows[0].speed.low, result.rows[0].speed.high) == (1, 1)
    first, second = (row.throughput.frames_per_second for row in result.rows)
    assert result.rows[1].speed.median == pytest.approx(second / first)


def test_batch_and_dtype(subject: Subject) -> None:
    batches = sweep(subject, "batch", [1, 3], ONCE)
    assert [row.latency.input_shape[0] for row in batches.rows] == [1, 3]  # type: ignore[index]
    assert batches.rows[0].macs == batches.rows[1].macs
    dtypes = sweep(subject, "dtype", None, ONCE)
    assert [(row.value, row.latency.dtype) for row in dtypes.rows] == [(name, name) for name in ("float32", "bfloat16", "float16")]
    told = dtypes.to_json()
    assert json.loads(json.dumps(told)) == told
    assert list(told["rows"][0]) == ["value", "macs", "latency_ms", "throughput", "peak_memory", "speed"]


@pytest.mark.parametrize(("axis", "values", "message"), [
    ("width", None, "nothing called 'width' can be swept.*frames, batch, dtype"), ("batch", [0], "0 cannot be swept as batch"),
    ("batch", ["a"], "a cannot be swept"), ("dtype", ["int8"], "int8 cannot be swept"), ("frames", [16, 16], "16, 16 cannot be swept"),
    ("frames", [], "nothing cannot be swept"), ("frames", [15], "15 frames are not a number of cells")])
def test_what_cannot_be_swept(subject: Subject, axis: str, values: list[int | str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sweep(subject, axis, values, ONCE)


def made(axis: str, *values: int | str) -> Sweep:
    """Rows that nobody measured."""
    return Sweep(axis, [SweepRow(value, 10**9, Latency.of([1.0, 2.0], "cpu", "float32", [1]), Throughput(100, 2, 50, 30, True),
                                 PeakMemory(2**20, "made up"), Ratio(1, 1, 1)) for value in values], "made up")


@pytest.mark.parametrize("result", [made("frames", 16, 32, 64), made("dtype", "float32")])
def test_the_picture(result: Sweep, tmp_path: Path) -> None:
    plot_sweep(result, tmp_path / "a.png")
    assert image.imread(tmp_path / "a.png").shape[1] == 1200
    with pytest.raises(UserError, match=r"pictures cannot be written as \.txt"):
        plot_sweep(result, tmp_path / "a.txt")
