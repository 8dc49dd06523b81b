"""``doctor``: whether this machine has what the tool needs, and what it costs where something lacks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Torch and the like are imported within the checks: what cannot be imported is what is looked for.

#: Python that the package is written for.
PYTHON = (3, 11)
#: Free space and memory, in GiB, below which large things may not fit.
DISK, MEMORY = 5.0, 4.0
#: Decoders of which any does, by codec. FFmpeg's own "av1" works with special hardware only.
DECODERS = {"h264": ("h264",), "hevc": ("hevc",), "vp9": ("vp9", "libvpx-vp9"), "av1": ("libdav1d", "libaom-av1")}
#: Instructions that speed up matrix products, as /proc/cpuinfo names them.
_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512 bfloat16", "avx512f": "AVX512", "avx2": "AVX2"}
_GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        found: what is here.
        lack: what it costs that more is not here; empty if nothing lacks.
        needed: whether the tool does not work at all without.
    """

    name: str
    found: str
    lack: str = ""
    needed: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing lacks."""
        return not self.lack


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in a fixed order."""

    checks: tuple[Check, ...]

    @property
    def broken(self) -> list[str]:
        """Names of what is needed and lacks."""
        return [check.name for check in self.checks if check.needed and not check.ok]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"ok": not self.broken, "broken": self.broken, "checks": [{**asdict(check), "ok": check.ok} for check in self.checks]}


def doctor() -> Diagnosis:
    """Look at Python, libraries, devices, decoders, space, memory and threads. Nothing is written and nothing fails."""
    return Diagnosis(tuple(_guarded(name, look, needed) for name, look, needed in _checks()))


def _checks() -> list[tuple[str, Callable[[], tuple[str, str]], bool]]:
    """Name, what gives what was found and what it costs, and whether it is needed."""
    decoders = [(f"decoder {codec}", partial(_decoder, codec), codec == "h264") for codec in DECODERS]
    return [("Python", _python, True), ("torch", _torch, True), ("GPU", _gpu, False), ("processor", _processor, False),
            ("threads", _threads, False), ("memory", _memory, False), ("ONNX Runtime", _onnx, False), ("video decoding", _pyav, True),
            *decoders, ("matplotlib", _matplotlib, False), ("space for data", _data_space, False),
            ("space here", lambda: _space(Path.cwd()), False)]


def _guarded(name: str, look: Callable[[], tuple[str, str]], needed: bool) -> Check:
    """A broken installation may raise anything at all when it is imported."""
    try:
        return Check(name, *look(), needed=needed)
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return Check(name, f"does not work: {first}", "what needs it does not run; install the package again", needed)


def _python() -> tuple[str, str]:
    wanted = ".".join(map(str, PYTHON))
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}", (
        "" if sys.version_info >= PYTHON else f"older than {wanted}, for which this is written")


def _torch() -> tuple[str, str]:
    import torch

    # Some broken installations are imported and fail at the first product.
    torch.ones(2, 2).mm(torch.ones(2, 2))
    return torch.__version__, ""


def _gpu() -> tuple[str, str]:
    import torch

    if not torch.cuda.is_available():
        return "no CUDA device", "everything runs on the CPU: training and large models take many times as long"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return ", ".join(names), "" if bfloat16 else "it has no bfloat16, so that all is computed in float32"


def _processor() -> tuple[str, str]:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    words = set(_text("/proc/cpuinfo").split())
    there = [name for flag, name in _FLAGS.items() if flag in words] or [capability]
    lack = "" if "amx_bf16" in words else "without matrix units for bfloat16 (AMX), all on the CPU is computed in float32"
    return f"{', '.join(there)} (torch uses {capability})", lack


def _threads() -> tuple[str, str]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    told = f" (OMP_NUM_THREADS={limit})" if limit else ""
    return f"{cores} cores, torch computes with {torch.get_num_threads()}{told}", "" if cores > 1 else "videos are not decoded beside the model"


def _memory() -> tuple[str, str]:
    fields = dict(line.split(":", 1) for line in _text("/proc/meminfo").splitlines() if ":" in line)
    if "MemAvailable" not in fields:
        return "not told by this system", ""
    total, free = (int(fields[key].split()[0]) * 1024 / _GIB for key in ("MemTotal", "MemAvailable"))
    lack = "" if free >= MEMORY else "training of large models may not fit (--checkpointing, --batch-size)"
    return f"{free:.1f} of {total:.1f} GiB free", lack


def _onnx() -> tuple[str, str]:
    import onnxruntime

    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    found = f"{onnxruntime.__version__}, providers {', '.join(providers)}"
    return found, "" if "CUDA" in providers or not _has_gpu() else "ONNX files run on the CPU beside an idle GPU; install onnxruntime-gpu"


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _pyav() -> tuple[str, str]:
    import av

    libraries = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"PyAV {av.__version__}, FFmpeg's libavcodec {libraries}", ""


def _decoder(codec: str) -> tuple[str, str]:
    from av.codec import codecs_available

    found = [name for name in DECODERS[codec] if name in codecs_available]
    return (found[0], "") if found else ("none", f"{codec} videos cannot be read; convert them to h264 first")


def _matplotlib() -> tuple[str, str]:
    # The part that draws is what may be broken.
    from matplotlib.figure import Figure

    Figure()
    return version("matplotlib"), ""


def _data_space() -> tuple[str, str]:
    from tadshrink.data.datasets import data_root

    return _space(data_root())


def _space(folder: Path) -> tuple[str, str]:
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir():
        return f"{there} is a file", "no folder can be made there; choose another one (TADSHRINK_DATA, --work-dir)"
    free = shutil.disk_usage(there).free / _GIB
    lack = "" if free >= DISK else "videos and checkpoints of a run may not fit"
    if not os.access(there, os.W_OK):
        lack = "nothing can be written here; choose another folder (TADSHRINK_DATA, --work-dir)"
    return f"{free:.1f} GiB free in {folder}", lack


def _text(path: str) -> str:
    """Of a file that only Linux has."""
    return Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).is_file() else ""
