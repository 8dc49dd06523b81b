"""``export``: a checkpoint in the form of another program."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.foreign.writer import ReferenceLayout, save_reference
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.checkpoint.opening import ModelFile, check_merged, path_of
from tadshrink.device import choose_compute
from tadshrink.errors import UserError, check_unused
from tadshrink.files import check_output
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.recognition.config import is_recogniser
from tadshrink.recognition.opening import read_either
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened
from tadshrink.stages.samples import sample_windows
from tadshrink.stages.sides import side_of

#: Windows on which an ONNX file is compared with the model, and on which static quantisation is calibrated.
COMPARED, CALIBRATED = 4, 32


@dataclass(frozen=True)
class Seen:
    """What an ONNX file is checked (and calibrated) on: a dataset's held-out videos, a video or file of features, or noise.

    Attributes:
        fps: frames per second of the video that features come from.
    """

    dataset: DatasetChoice | None = None
    file: Path | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Exported:
    """Checksum of the weights that were exported, the files written with what is in each, and how the ONNX file was checked."""

    checksum: str
    written: dict[str, str]
    onnx: dict[str, Any] | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def export(checkpoint: Path | ModelFile, opentad: Path | None = None, plain: Path | None = None, layout: ReferenceLayout | None = None,
           reporter: Reporter = SILENT, onnx: Path | None = None, settings: OnnxSettings | None = None, seen: Seen | None = None) -> Exported:
    """Write the checkpoint for the code base that it came from, as a tadshrink checkpoint, as an ONNX file, or several of them.

    Args:
        opentad: a file that OpenTAD, Progressive Block Drop or the original ActionFormer loads strictly.
        plain: a tadshrink checkpoint, with the architecture and the dropped blocks in it.
        layout: of ``opentad``; by default the one that the weights came from, or the only one that can hold them.
        onnx: a file for ONNX Runtime, written as ``settings`` say and checked on what ``seen`` says (default: fp32, noise).

    Raises:
        UserError: nothing to write, a path that cannot be written, a code base that cannot hold this checkpoint, or an ONNX file that
            does not compute the same.
    """
    if opentad is plain is onnx is None:
        raise UserError("nothing to write", fix="Give --onnx OUT, --opentad OUT, --tadshrink OUT or several of them")
    files = [path_of(checkpoint), opentad, plain, onnx]
    for number, path in enumerate(files[1:], 1):
        check_output(path, *files[:number])
    if onnx is not None and onnx.suffix != ".onnx":
        raise UserError("by this name no command would know it for an ONNX file", where=onnx, fix="Give a name that ends in .onnx")
    source = read_either(checkpoint, reporter)
    if opentad is not None and is_recogniser(source.architecture):
        raise UserError("OpenTAD has no recognisers of trimmed videos", where=checkpoint, fix="Give --onnx OUT or --tadshrink OUT")
    written: dict[str, str] = {}
    if opentad is not None:
        written[str(opentad)] = save_reference(opentad, source, layout)
    if plain is not None:
        save_checkpoint(plain, source)
        written[str(plain)] = "tadshrink checkpoint"
    if onnx is None:
        return Exported(source.checksum, written)
    files, checked = _export_onnx(_opened(source, checkpoint, reporter), onnx, settings or OnnxSettings(), seen or Seen(), reporter)
    return Exported(source.checksum, written | files, checked)


def _opened(source: Checkpoint, file: Path | ModelFile, reporter: Reporter) -> Opened:
    """On the CPU, where the tracing happens."""
    check_merged(source, file)
    model = side_of(source).build(source, file)
    compute = choose_compute("cpu", model.config.compute_width)
    return Opened(path_of(file), source, model, compute, source.checksum)


def _export_onnx(opened: Opened, path: Path, settings: OnnxSettings, seen: Seen,
                 reporter: Reporter) -> tuple[dict[str, str], dict[str, Any]]:
    if is_recogniser(opened.checkpoint.architecture):
        return _export_recogniser(opened, path, settings, seen, reporter)
    from tadshrink.onnx_export.writing import write_onnx  # Takes seconds.

    calibrates = settings.precision == "int8" and settings.static
    samples = sample_windows(opened, CALIBRATED if calibrates else COMPARED, seen.dataset, seen.file, seen.fps)
    if settings.static and not samples.real:
        raise UserError("static quantisation is calibrated on real windows", fix="Give --dataset or --video")
    calibration = (samples.inputs, samples.masks) if calibrates else None
    reporter.note(f"checked on {samples.text}" + ("" if samples.real else " (--dataset or --video gives real ones)"))
    made = write_onnx(opened.detector, opened.checksum, path, settings, samples.first(COMPARED), calibration, reporter)
    text = f"ONNX, {made.precision}" + (", with NMS" if settings.nms else "") + f"; checked with {made.provider}"
    return dict.fromkeys(made.files, text), made.to_json() | {"windows": samples.text}


def _export_recogniser(opened: Opened, path: Path, settings: OnnxSettings, seen: Seen,
                       reporter: Reporter) -> tuple[dict[str, str], dict[str, Any]]:
    from tadshrink.recognition.onnx_file import write_recogniser  # Takes seconds.

    check_unused({"--with-nms": settings.nms, "--cells": settings.cells, "--quantise static": settings.static, "--fps": seen.fps},
                 "for a recogniser")
    samples = sample_windows(opened, COMPARED, seen.dataset, seen.file)
    reporter.note(f"checked on {samples.text}" + ("" if samples.real else " (--dataset or --video gives real ones)"))
    made = write_recogniser(opened.detector, opened.checksum, path, settings, samples.inputs, reporter)
    return dict.fromkeys(made.files, f"ONNX, {made.precision}; checked with {made.provider}"), made.to_json() | {"windows": samples.text}
