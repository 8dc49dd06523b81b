"""From a checkpoint file to a recogniser that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.foreign.layouts import find_weights
from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.format import Checkpoint, record
from tadshrink.checkpoint.io import checkpoint_in, detector_in, is_ours
from tadshrink.checkpoint.opening import ModelFile, check_merged
from tadshrink.checkpoint.torch_file import read_torch
from tadshrink.checkpoint.wording import counted
from tadshrink.errors import UserError
from tadshrink.models.units import order
from tadshrink.recognition.config import RecogniserConfig, SlowOnlyConfig, is_recogniser
from tadshrink.recognition.foreign import changed, check_settings, has_class_head, read_foreign
from tadshrink.recognition.recogniser import ActionRecogniser, build_recogniser
from tadshrink.reporting import SILENT, Reporter


def read_recogniser(file: Path | ModelFile, reporter: Reporter = SILENT) -> Checkpoint:
    """Read a recogniser of tadshrink, mmaction2 (slow-only, VideoMAE) or VideoMAE's own releases.

    Raises:
        UserError: whatever is wrong with the file or the settings, in one line.
    """
    file = file if isinstance(file, ModelFile) else ModelFile(file)
    return recogniser_in(read_torch(file.path), file, reporter)


def read_either(file: Path | ModelFile, reporter: Reporter = SILENT) -> Checkpoint:
    """Read a detector or a recogniser, of any code base.

    Raises:
        UserError: whatever is wrong with the file or the settings, in one line.
    """
    file = file if isinstance(file, ModelFile) else ModelFile(file)
    content = read_torch(file.path)
    if _is_recogniser(content, file):
        return recogniser_in(content, file, reporter)
    return detector_in(content, file.path, file.settings, reporter)


def is_recogniser_file(file: Path | ModelFile) -> bool:
    """Whether a file is of a recogniser and not of a detector.

    Raises:
        UserError: it cannot be read.
    """
    file = file if isinstance(file, ModelFile) else ModelFile(file)
    return _is_recogniser(read_torch(file.path), file)


def _is_recogniser(content: Any, file: ModelFile) -> bool:
    if is_ours(content):
        architecture = content.get("architecture")
        return isinstance(architecture, dict) and is_recogniser(architecture)
    try:
        return has_class_head(find_weights(content, None, file).tensors)
    except UserError:
        # Told by whoever reads it.
        return False


def recogniser_in(content: Any, file: ModelFile, reporter: Reporter = SILENT) -> Checkpoint:
    """:func:`read_recogniser` of what ``torch.load`` returned."""
    check_settings(file.settings, file)
    if not is_ours(content):
        return read_foreign(content, file.settings, file, reporter)
    checkpoint = checkpoint_in(content, file.path)
    if not is_recogniser(checkpoint.architecture):
        raise UserError("a detector, not a recogniser of trimmed videos", where=file, fix="Give what tadshrink sfc made, or a recogniser")
    checkpoint = _overridden(checkpoint, file.settings, file)
    reporter.note(summary(checkpoint, file))
    return checkpoint


def open_recogniser(checkpoint: Checkpoint, where: object) -> ActionRecogniser:
    """The recogniser of a checkpoint in eval mode on the CPU.

    Raises:
        UserError: weights that do not fit the architecture, or LoRA that is not merged; ``where`` names the file.
    """
    check_merged(checkpoint, where)
    return build_recogniser(RecogniserConfig.parse(checkpoint.architecture, where), checkpoint.state, tuple(checkpoint.dropped), where)


def summary(checkpoint: Checkpoint, where: object = "checkpoint") -> str:
    """The architecture in one line.

    Raises:
        UserError: the architecture is not a recogniser's; ``where`` names the file.
    """
    config = RecogniserConfig.parse(checkpoint.architecture, where)
    backbone, clip, sfc = config.backbone, config.clip, config.sfc
    network = f"slow-only ResNet of {sum(backbone.depths)} bottlenecks" if isinstance(backbone, SlowOnlyConfig) else (
        f"ViT {backbone.width} wide, {counted(backbone.depth, 'block')}")
    if checkpoint.dropped:
        network += f", {', '.join(map(str, sorted(checkpoint.dropped, key=order)))} of them dropped"
    parts = [f"recogniser {config.name}", network, f"clips of {clip.frames}x{clip.stride} frames of {clip.size} pixels",
             f"{len(config.classes)} classes"]
    if sfc:
        parts.append(f"compressing {sfc.clips} clips to {sfc.ratio:.4g} after {sfc.split}")
    return " · ".join(parts)


def _overridden(checkpoint: Checkpoint, settings: LoadSettings, where: object) -> Checkpoint:
    """With the settings given, and with a history entry that says so; itself if nothing is given."""
    given = settings.given()
    if "weights" in given:
        raise UserError("weights: a tadshrink checkpoint has one set of them", where=where, fix="Leave this setting out")
    if not given:
        return checkpoint
    config = changed(RecogniserConfig.parse(checkpoint.architecture, where), settings, where)
    made = replace(checkpoint, architecture=config.model_dump(mode="json"), classes=list(config.classes))
    return record(made, "set", settings.model_dump(mode="json", exclude_none=True), {}, checkpoint.checksum)
