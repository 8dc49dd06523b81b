"""Opening whatever detects: a checkpoint, or an ONNX file that was exported from one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.reporting import Reporter
from tadshrink.stages.common import Opened, open_detector

#: Ends the names of ONNX files.
SUFFIX = ".onnx"


def open_model(file: Path | ModelFile, device: str | None, reporter: Reporter) -> Opened:
    """:func:`~tadshrink.stages.common.open_detector`, also for ONNX files: what comes back detects, and does nothing else.

    Raises:
        UserError: neither a sound checkpoint nor a sound ONNX file, or a device that does not run it.
    """
    path, settings = (file.path, file.settings.given()) if isinstance(file, ModelFile) else (file, {})
    if path.suffix.lower() != SUFFIX:
        return open_detector(file, device, reporter)
    if settings:
        raise UserError(f"{', '.join(settings)}: an ONNX file is read as it is", where=path, fix="Leave it out")
    from tadshrink.onnx_export.runtime import OnnxDetector

    model = OnnxDetector.open(path, device and device.partition(":")[0], reporter)
    checkpoint = Checkpoint(model.config.model_dump(mode="json"), {}, list(model.config.classes), list(model.dropped))
    compute = Compute(torch.device("cpu"), torch.float32, f"ONNX Runtime ({model.provider})")
    return Opened(path, checkpoint, cast(Detector, model), compute, model.checksum)
