from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tadshrink.stages import doctor as module
from tadshrink.stages.doctor import Check, Diagnosis, doctor


def checks() -> dict[str, Check]:
    return {check.name: check for check in doctor().checks}


def test_where_the_tests_run_nothing_needed_lacks() -> None:
    result = doctor()
    assert result.broken == []
    found = {check.name: check for check in result.checks}
    assert found["torch"].found == torch.__version__
    assert all(found[f"decoder {codec}"].ok for codec in ("h264", "hevc", "vp9"))
    assert {"Python", "GPU", "processor", "threads", "memory", "ONNX Runtime", "video decoding", "matplotlib", "space for data",
            "space here"} <= found.keys()
    assert all(check.found for check in result.checks)


def test_json_holds_everything() -> None:
    made = Diagnosis((Check("a", "1"), Check("b", "none", "it costs", needed=True), Check("c", "none", "a little"))).to_json()
    assert (made["ok"], made["broken"]) == (False, ["b"])
    assert made["checks"][1] == {"name": "b", "found": "none", "lack": "it costs", "needed": True, "ok": False}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the import of a package fail as broken installations do."""
    real = builtins.__import__

    def lose(package: str) -> None:
        def fake(name: str, *rest: Any, **named: Any) -> Any:
            if name.split(".")[0] == package:
                raise OSError(f"lib{package}.so: cannot open shared object file\nand more")
            return real(name, *rest, **named)

        monkeypatch.setattr(builtins, "__import__", fake)

    return lose


@pytest.mark.parametrize(("package", "name", "broken"), [
    ("torch", "torch", {"torch"}), ("av", "video decoding", {"video decoding", "decoder h264"}), ("onnxruntime", "ONNX Runtime", set()),
    ("matplotlib", "matplotlib", set())])
def test_what_cannot_be_imported_is_told(without: Callable[[str], None], package: str, name: str, broken: set[str]) -> None:
    without(package)
    result = doctor()
    assert set(result.broken) == broken
    check = next(check for check in result.checks if check.name == name)
    assert check.found == f"does not work: lib{package}.so: cannot open shared object file"
    assert not check.ok


def test_a_codec_that_is_not_here_costs_its_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codec.codecs_available", {"h264", "av1"})
    found = checks()
    assert found["decoder h264"].ok
    # FFmpeg's own decoder of AV1 needs special hardware.
    assert found["decoder av1"].lack == "av1 videos cannot be read; convert them to h264 first"
    assert not found["decoder av1"].needed


def test_a_gpu_is_named_and_onnx_runtime_should_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    found = checks()
    assert (found["GPU"].found, found["GPU"].ok) == ("GPU 0, GPU 1", True)
    assert "idle GPU" in found["ONNX Runtime"].lack


@pytest.mark.parametrize(("info", "found", "ok"), [
    ("flags : fpu avx2 avx512f amx_bf16 avx512_bf16", "AMX, AVX512 bfloat16, AVX512, AVX2", True),
    ("flags : fpu avx2", "AVX2", False), ("", torch.backends.cpu.get_cpu_capability(), False)])
def test_instructions_of_the_processor(monkeypatch: pytest.MonkeyPatch, info: str, found: str, ok: bool) -> None:
    monkeypatch.setattr(module, "_text", lambda path: info)
    check = checks()["processor"]
    assert check.found.startswith(f"{found} (torch uses ")
    assert check.ok == ok


@pytest.mark.parametrize(("free", "ok"), [(8, True), (2, False)])
def test_memory(monkeypatch: pytest.MonkeyPatch, free: int, ok: bool) -> None:
    monkeypatch.setattr(module, "_text", lambda path: f"MemTotal: {16 << 20} kB\nMemAvailable: {free << 20} kB\n")
    check = checks()["memory"]
    assert (check.found, check.ok) == (f"{free}.0 of 16.0 GiB free", ok)


def test_space_is_that_of_the_nearest_folder_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADSHRINK_DATA", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": (6 if folder == tmp_path else 1) << 30}))
    found = checks()
    assert (found["space for data"].found, found["space for data"].ok) == (f"6.0 GiB free in {tmp_path / 'not' / 'yet'}", True)
    assert not found["space here"].ok


def test_a_file_in_the_place_of_a_folder_is_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TADSHRINK_DATA", str(tmp_path / "file" / "data"))
    found, lack = module._data_space()
    assert found == f"{tmp_path / 'file'} is a file" and "no folder can be made there" in lack


def test_an_old_python_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PYTHON", (99, 0))
    assert doctor().broken == ["Python"]


def test_one_core_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert not checks()["threads"].ok
