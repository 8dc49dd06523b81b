"""Which device and number format to compute with, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tadshrink.distributed import local_device
from tadshrink.errors import UserError

#: Narrower matrices gain nothing from bfloat16 units on a CPU.
BF16_WIDTH = 256


@dataclass(frozen=True)
class Compute:
    """A device, a dtype for matrix products (autocast when not float32) and the reason for both."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def kind(self) -> str:
        """Of the device and the number format, as far as results depend on them."""
        return f"{self.device.type} {self.dtype_name}"

    def autocast(self) -> torch.autocast:
        """Context in which a model runs with :attr:`dtype`."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16 if self.dtype == torch.float32 else self.dtype,
                              enabled=self.dtype != torch.float32)


def choose_compute(device: str | None, width: int) -> Compute:
    """Pick the device (``None``: CUDA when there is one) and the dtype for a backbone of this width.

    For a narrow one on a CPU, torch is set to one thread: threads that share small products spend their time waiting for
    each other, and decoding (in ``align``, the teacher too) runs beside the model.

    Raises:
        UserError: a device that torch does not know, or that cannot compute here.
    """
    if device is None:
        name, why = ("cuda", "a CUDA device is here") if torch.cuda.is_available() else ("cpu", "no CUDA device")
    else:
        name, why = device, "asked for"
    chosen = _checked(local_device(name))
    dtype, because = _dtype(chosen, width)
    reason = f"device {name} ({why}), {str(dtype).removeprefix('torch.')} ({because})"
    if chosen.type == "cpu" and width < BF16_WIDTH:
        torch.set_num_threads(1)
        reason += f", 1 thread per model (width {width} is too narrow to share a product between threads)"
    return Compute(chosen, dtype, reason)


def with_dtype(compute: Compute, name: str) -> Compute:
    """The same with the dtype of this name; "auto" leaves it as it is."""
    if name == "auto":
        return compute
    return replace(compute, dtype=getattr(torch, name), reason=f"device {compute.device}, {name} (asked for)")


def _checked(name: str) -> torch.device:
    """The device of this name, after a computation on it: some exist by name alone ("meta") or not in this build of torch."""
    try:
        torch.ones(1, device=name).add(1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        # Torch goes on for a page; its first sentence says it.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UserError(f"device {name!r} cannot be used ({reason})", fix="Use --device cpu") from error
    return torch.device(name)


def _dtype(device: torch.device, width: int) -> tuple[torch.dtype, str]:
    if device.type == "cuda":
        # Older GPUs emulate bfloat16, which is slower than float32.
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return (torch.bfloat16, "autocast on a GPU that has it") if has else (torch.float32, "the GPU has no bfloat16")
    if device.type != "cpu":
        return torch.float32, "bfloat16 is only chosen on CUDA and CPU"
    if width < BF16_WIDTH:
        return torch.float32, f"width {width} is too narrow for bfloat16 to pay on a CPU"
    if not _has_amx():
        return torch.float32, "this CPU has no bfloat16 matrix units"
    return torch.bfloat16, "this CPU has AMX"


def _has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 tiles (Linux only; elsewhere the answer is no)."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
