from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tadshrink import device
from tadshrink.device import BF16_WIDTH, Compute, choose_compute
from tadshrink.errors import UserError


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_cuda")
def test_the_reason_says_what_was_chosen_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_has_amx", lambda: False)
    compute = choose_compute(None, 384)
    assert (compute.device, compute.dtype, compute.dtype_name) == (torch.device("cpu"), torch.float32, "float32")
    assert compute.reason == "device cpu (no CUDA device), float32 (this CPU has no bfloat16 matrix units)"
    assert choose_compute("cpu", 384).reason.startswith("device cpu (asked for), ")


@pytest.mark.parametrize(("amx", "width", "dtype"), [
    (True, BF16_WIDTH, torch.bfloat16),
    (True, BF16_WIDTH - 1, torch.float32),
    (False, BF16_WIDTH, torch.float32),
])
def test_bfloat16_on_a_cpu_needs_amx_and_width(monkeypatch: pytest.MonkeyPatch, amx: bool, width: int, dtype: torch.dtype) -> None:
    monkeypatch.setattr(device, "_has_amx", lambda: amx)
    assert choose_compute("cpu", width).dtype == dtype


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert device._dtype(torch.device("cuda"), 32)[0] == dtype


def test_other_devices_compute_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_has_amx", lambda: True)
    assert device._dtype(torch.device("mps"), 1024)[0] == torch.float32


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "meta", "hpu", "cpu:-1"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match="cannot be used") as caught:
        choose_compute(name, 96)
    text = str(caught.value)
    assert repr(name) in text
    assert text.endswith("Use --device cpu")
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_computes_in_the_dtype(dtype: torch.dtype) -> None:
    with Compute(torch.device("cpu"), dtype, "a test").autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_amx_is_read_from_the_system_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "flags : fpu amx_bf16 amx_tile")
    assert device._has_amx()
    monkeypatch.setattr(Path, "read_text", lambda self: "flags : fpu avx512_bf16")
    assert not device._has_amx()

    def missing(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert not device._has_amx()
