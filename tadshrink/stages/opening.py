"""Opening whatever detects: a checkpoint, or an ONNX file that was exported from one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile, path_of
from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.onnx_export.settings import is_onnx
from tadshrink.reporting import Reporter
from tadshrink.stages.common import Opened, open_detector


def open_model(file: Path | ModelFile, device: str | None, reporter: Reporter, compiled: bool = False) -> Opened:
    """:func:`~tadshrink.stages.common.open_detector`, also for ONNX files: what comes back detects, and does nothing else.

    Args:
        compiled: by ``torch.compile``; where that fails, or windows differ in length, it is told and the detector is as it was.

    Raises:
        UserError: neither a sound checkpoint nor a sound ONNX file, or a device that does not run it.
    """
    path = path_of(file)
    if not is_onnx(path):
        opened = open_detector(file, device, reporter)
        return _compiled(opened, reporter) if compiled else opened
    if compiled:
        raise UserError("an ONNX file is run by ONNX Runtime, and not compiled by torch", where=path, fix="Leave --compile out")
    check_as_is(file)
    kind, _, number = (device or "").partition(":")
    if number not in ("", "0"):
        raise UserError("an ONNX file runs on the first GPU", where=path, fix=f"Give --device cuda, with CUDA_VISIBLE_DEVICES={number}")
    from tadshrink.onnx_export.runtime import OnnxDetector

    model = OnnxDetector.open(path, kind or None, reporter)
    checkpoint = Checkpoint(model.config.model_dump(mode="json"), {}, list(model.config.classes), list(model.dropped))
    compute = Compute(torch.device("cpu"), torch.float32, f"ONNX Runtime ({model.provider})")
    return Opened(path, checkpoint, cast(Detector, model), compute, model.checksum)


def check_as_is(file: Path | ModelFile) -> None:
    """Raise a :class:`UserError` if settings are given for an ONNX file."""
    if isinstance(file, ModelFile) and (settings := file.settings.given()):
        raise UserError(f"{', '.join(settings)}: an ONNX file is read as it is", where=file, fix="Leave it out")


def _compiled(opened: Opened, reporter: Reporter) -> Opened:
    if opened.detector.config.sampling.mode == "whole":
        reporter.note("not compiled: its windows are as long as their videos, and each length would be compiled anew")
        return opened
    from tadshrink.compiling import CompiledDetector

    return replace(opened, detector=cast(Detector, CompiledDetector(opened.detector, reporter)))
