from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tadshrink.device import choose_compute, with_dtype
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.profiling.running import Measure, computing, ready
from tadshrink.reporting import SILENT
from tests.notes import Notes
from tests.profiling.models import VIDEO

CPU = choose_compute("cpu", 8)


@pytest.mark.parametrize(("options", "message"), [
    ({"runs": 0}, "0 runs after 3"), ({"warmup": -1}, "after -1"), ({"dtype": "int8"}, "unknown dtype 'int8'.*bfloat16"),
    ({"batch": 0}, "a batch of 0"), ({"threads": 0}, "on 0 threads")])
def test_what_cannot_be_measured_is_a_user_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Measure(**options)


def test_threads_are_set_and_put_back() -> None:
    before = torch.get_num_threads()
    with computing(Measure(device="cpu", threads=before + 1), 8, SILENT):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_dtype_is_that_of_the_matrix_products(dtype: str) -> None:
    seen: list[torch.dtype] = []
    detector = Detector(VIDEO)
    detector.blocks[0].mlp.layers[1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    reporter = Notes()
    with computing(Measure(device="cpu", dtype=dtype), 8, reporter) as compute, ready(detector, Measure(batch=2), compute, SILENT) as model:
        model.run()
    assert set(seen) == {getattr(torch, dtype)}
    assert model.inputs.shape == (2, 1, 3, 16, 32, 32)
    state = sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    assert model.bytes == state + 2 * (3 * 16 * 32 * 32 + 8)
    assert dtype in reporter.lines[0]


class Compiled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.network(*arguments)


def test_compiling_is_done_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Compiled] = []

    def compile_(network: nn.Module, **options: Any) -> Compiled:
        made.append(Compiled(network))
        return made[0]

    monkeypatch.setattr(torch, "compile", compile_)
    with ready(Detector(VIDEO), Measure(compiled=True), CPU, SILENT) as model:
        assert model.compiled
        before = made[0].calls
        model.run()
        assert (before >= 1, made[0].calls) == (True, before + 1)


def test_where_compiling_fails_it_runs_eagerly_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no compiler here\nand a page more")

    monkeypatch.setattr(torch, "compile", lambda network, **options: fail)
    reporter = Notes()
    with ready(Detector(VIDEO), Measure(compiled=True), CPU, reporter) as model:
        assert not model.compiled
        model.run()
    assert reporter.lines[-1] == "torch.compile failed (RuntimeError: no compiler here): it runs eagerly"


@pytest.mark.slow
def test_compiled_for_real() -> None:
    detector = Detector(VIDEO)
    with ready(detector, Measure(compiled=True), CPU, SILENT) as model, ready(detector, Measure(), CPU, SILENT) as eager:
        assert model.compiled
        for one, other in zip(model.run().cls_logits, eager.run().cls_logits, strict=True):  # type: ignore[attr-defined]
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")])
def test_too_little_memory_is_a_user_error(error: Exception) -> None:
    with (pytest.raises(UserError, match=r"not enough memory for 3 windows of 8 cells, 16 frames of 32 pixels.*--no-time"),
          ready(_failing(lambda: error), Measure(batch=3), CPU, SILENT)):
        pass


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="a bug"), ready(_failing(lambda: RuntimeError("a bug")), Measure(), CPU, SILENT):
        pass


def _failing(make: Callable[[], Exception]) -> Detector:
    def fail(*arguments: Any) -> None:
        raise make()

    detector = Detector(VIDEO)
    detector.neck.register_forward_pre_hook(fail)
    return detector


def test_auto_takes_what_was_chosen() -> None:
    assert with_dtype(CPU, Measure().dtype) == CPU
