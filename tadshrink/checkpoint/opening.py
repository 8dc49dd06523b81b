"""From a checkpoint file to a detector that runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tadshrink.checkpoint.foreign.settings import AS_IS, LoadSettings
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.compress.lora import load_lora
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector, build_detector
from tadshrink.reporting import Reporter


@dataclass(frozen=True)
class ModelFile:
    """A checkpoint and how to read it; every stage takes it in place of a path."""

    path: Path
    settings: LoadSettings = AS_IS

    def __str__(self) -> str:
        return str(self.path)


def read_model(file: Path | ModelFile, reporter: Reporter) -> Checkpoint:
    """Read a checkpoint of any code base.

    Raises:
        UserError: whatever is wrong with the file or the settings, in one line.
    """
    file = file if isinstance(file, ModelFile) else ModelFile(file)
    return load_checkpoint(file.path, file.settings, reporter)


def check_merged(checkpoint: Checkpoint, where: object) -> None:
    """Raise a :class:`UserError` if a checkpoint has LoRA that is not merged yet."""
    if checkpoint.lora:
        raise UserError("its LoRA is not merged yet", where=where, fix="First: tadshrink merge CKPT -o merged.pth")


def path_of(file: Path | ModelFile) -> Path:
    """Where a model lies."""
    return file.path if isinstance(file, ModelFile) else file


def build_model(checkpoint: Checkpoint, where: object) -> Detector:
    """The detector of a checkpoint in eval mode on the CPU, LoRA included.

    Raises:
        UserError: weights that do not fit the architecture; ``where`` names the file.
    """
    config = DetectorConfig.parse(checkpoint.architecture, where=where)
    detector = build_detector(config, checkpoint.state, tuple(checkpoint.dropped), where=where)
    if checkpoint.lora:
        load_lora(detector, checkpoint.lora, where=where)
    return detector.eval()
