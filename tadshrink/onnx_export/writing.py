"""A detector as one ONNX file that was checked before it got its name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import onnx

from tadshrink.errors import UserError
from tadshrink.files import sync
from tadshrink.models.detector import Detector
from tadshrink.models.units import gone
from tadshrink.onnx_export.checking import Difference, check, check_nms, compare
from tadshrink.onnx_export.metadata import Metadata
from tadshrink.onnx_export.precision import PRECISIONS, Windows, quantise
from tadshrink.onnx_export.runtime import OnnxDetector, choose_provider
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.suppression import append_nms, hard_postprocess
from tadshrink.onnx_export.tracing import fit, trace
from tadshrink.reporting import SILENT, Reporter

#: Bytes of weights from which on they lie in a file of their own: one message of protobuf holds 2 GiB.
ONE_FILE = 2_000_000_000


class Described(Protocol):
    """What a file says about itself."""

    def write(self, model: onnx.ModelProto) -> None:
        """Put it into a model, in place."""


@dataclass(frozen=True)
class OnnxWritten:
    """What was written: the number format in words, what ran the check, and what it found."""

    precision: str
    provider: str
    difference: Difference
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"precision": self.precision, "provider": self.provider, "difference": self.difference.to_json(), "files": list(self.files)}


def write_onnx(detector: Detector, checksum: str, path: Path, settings: OnnxSettings, windows: Windows,
               calibration: Windows | None = None, reporter: Reporter = SILENT) -> OnnxWritten:
    """Write a detector without LoRA as an ONNX file, if ONNX Runtime computes with it what torch does.

    Args:
        checksum: of the checkpoint's weights.
        windows: to compare the two on.
        calibration: real windows for static quantisation; without them "int8" is dynamic.

    Raises:
        UserError: ``cells`` that do not go with this detector, outputs further apart than the precision allows, a provider that does
            not run here, or a path that cannot be written.
    """
    precision = PRECISIONS[settings.precision]
    choose_provider(settings.provider)  # Before the work.
    cells = _cells(detector, settings.cells)
    windows, calibration = fit(windows, cells), calibration and fit(calibration, cells)
    with working_folder(path) as folder:
        reporter.note("tracing the model for ONNX")
        model, kind = _in_precision(detector, settings.precision, cells, folder / "traced.onnx", calibration)
        lengths = tuple(detector.projection.padded_length(cells) >> level for level in range(detector.config.head.levels))
        metadata = Metadata(detector.config, tuple(gone(detector.config.block_count, detector.blocks.left)), checksum, kind, cells, lengths)
        file = save_checked(model, metadata, folder / "plain" / path.name)
        opened = OnnxDetector.open(file, settings.provider, reporter)
        difference = compare(detector, opened, windows, precision)
        reporter.note(f"{kind} on {opened.provider} beside torch: {difference}; {precision.limits()}")
        check(difference, precision, path)
        if settings.nms:
            model, metadata = _with_nms(onnx.load(file), metadata, settings.nms_iou)
            file = save_checked(model, metadata, folder / "nms" / path.name)
            check_nms(opened, OnnxDetector.open(file, opened.provider), windows, path)
        return OnnxWritten(kind, opened.provider, difference, publish(file, path))


def _cells(detector: Detector, wanted: int | None) -> int:
    """Grid cells of a window."""
    config = detector.config
    if wanted is None or wanted == config.sampling.window:
        return config.sampling.window
    if config.sampling.mode != "whole" or config.head.absolute_position or wanted < config.sampling.window:
        raise UserError(f"windows of {wanted} cells: this model takes {config.sampling.window}", fix="Longer ones are for models without "
                        "absolute positions that see whole videos (features); leave out --cells")
    return wanted


def _in_precision(detector: Detector, name: str, cells: int, file: Path, calibration: Windows | None) -> tuple[onnx.ModelProto, str]:
    """The graph and its number format in words; ``file`` is for what lies between."""
    model = trace(detector, PRECISIONS[name].dtype, cells)
    if name != "int8":
        return model, name
    write_model(model, file)
    way = quantise(file, target := file.with_stem("quantised"), detector.config, calibration, is_large(model))
    return onnx.load(target), f"int8 ({way})"


def _with_nms(model: onnx.ModelProto, plain: Metadata, iou: float | None) -> tuple[onnx.ModelProto, Metadata]:
    config = plain.config.model_copy(update={"postprocess": hard_postprocess(plain.config.postprocess, iou)})
    append_nms(model, config, sum(plain.lengths))
    return model, replace(plain, config=config, nms=True)


def save_checked(model: onnx.ModelProto, metadata: Described, file: Path) -> Path:
    """With what it says about itself, and past ONNX's own checker."""
    metadata.write(model)
    file.parent.mkdir()
    write_model(model, file)
    onnx.checker.check_model(str(file), full_check=True)
    return file


def write_model(model: onnx.ModelProto, file: Path) -> None:
    onnx.save_model(model, file, save_as_external_data=is_large(model), location=f"{file.name}.data")


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the weights go into a second file."""
    return sum(len(weights.raw_data) for weights in model.graph.initializer) > ONE_FILE


def publish(file: Path, path: Path) -> tuple[str, ...]:
    """Give a file, and that of its weights if it has one, their final names; the file itself comes last."""
    moved = []
    for source in sorted(file.parent.iterdir(), key=lambda part: part == file):
        sync(source)
        os.replace(source, target := path.with_name(source.name))
        moved.append(str(target))
    return tuple(reversed(moved))


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for files that have no name yet, removed in the end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise UserError(f"cannot write ({error.strerror or error})", where=path, fix="Check the path and the space left") from error
