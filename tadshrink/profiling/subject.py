"""What is profiled: a checkpoint, or an architecture with random weights; with blocks left out, and windows of another size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tadshrink.checkpoint.foreign.summary import summary
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile, build_model, read_model
from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig
from tadshrink.models.detector import Detector, check_sizes
from tadshrink.models.presets import architecture
from tadshrink.models.units import Unit, merged, without
from tadshrink.reporting import Reporter

#: Classes of a sketch where nothing else was asked for: those of THUMOS-14.
CLASSES = 20


@dataclass(frozen=True)
class Sketch:
    """A detector with random weights. ``arch`` as for :func:`~tadshrink.models.presets.architecture`."""

    arch: str
    classes: int = CLASSES

    def __str__(self) -> str:
        return self.arch

    def config(self) -> DetectorConfig:
        """Its architecture.

        Raises:
            UserError: there is no such architecture.
        """
        if self.classes < 1:
            raise UserError(f"a detector of {self.classes} classes cannot be built", fix="Choose at least 1")
        return architecture(self.arch, [f"class {index}" for index in range(self.classes)])


@dataclass(frozen=True)
class Subject:
    """What to profile.

    Attributes:
        source: a checkpoint, or a sketch.
        drop: units that are left out, as if they had been dropped.
        frames, size: of a window: frames that the backbone sees (features: their number), and pixels from side to side. None: its own.
    """

    source: Path | ModelFile | Sketch
    drop: Sequence[Unit] = ()
    frames: int | None = None
    size: int | None = None

    def open(self, reporter: Reporter, empty: bool = False) -> tuple[Detector, str]:
        """The detector on the CPU in eval mode, and its architecture in words.

        Args:
            empty: build a sketch without data ("meta" device), which is enough to count.

        Raises:
            UserError: whatever is wrong with the file, the architecture, the blocks or the size.
        """
        if isinstance(self.source, Sketch):
            config = resized(self.source.config(), self.frames, self.size, self.source)
            detector = sketched(config, empty)
            checkpoint = Checkpoint(config.model_dump(mode="json"), {}, list(config.classes))
        else:
            checkpoint = read_model(self.source, reporter)
            config = resized(DetectorConfig.parse(checkpoint.architecture, self.source), self.frames, self.size, self.source)
            checkpoint = replace(checkpoint, architecture=config.model_dump(mode="json"))
            detector = build_model(checkpoint, self.source)
        leave_out(detector, self.drop, self.source)
        return detector, summary(replace(checkpoint, dropped=merged([*checkpoint.dropped, *self.drop])), self.source)


def sketched(config: DetectorConfig, empty: bool = False, dropped: Sequence[Unit] = ()) -> Detector:
    """Random weights, always the same; or none at all. In eval mode."""
    with torch.random.fork_rng(devices=[]), torch.device("meta") if empty else nullcontext():
        torch.manual_seed(0)
        return Detector(config, dropped).eval()


def leave_out(detector: Detector, units: Sequence[Unit], where: object) -> None:
    """Drop units of a detector.

    Raises:
        UserError: one is not there, or none would be left.
    """
    left = detector.blocks.left
    for unit in units:
        left = without(left, unit)
    if units and not left:
        raise UserError(f"dropping {len(units)} units leaves no block", where=where, fix="Drop fewer")
    for unit in units:
        detector.blocks.drop(unit)


def resized(config: DetectorConfig, frames: int | None, size: int | None, where: object) -> DetectorConfig:
    """The same detector for windows of so many frames of so many pixels.

    Raises:
        UserError: they are not a number of whole chunks, cells or patches; or there are no frames.
    """
    changes: dict[str, Any] = {}
    if size is not None:
        if not isinstance(config.backbone, BackboneConfig):
            raise UserError("a detector on features has no frames of any size", where=where, fix="Leave out --size")
        changes["frame_size"] = size
    if frames is not None:
        each = config.sampling.frames_per_cell
        if frames < 1 or frames % each:
            raise UserError(f"{frames} frames are not a number of cells of {each} frames", where=where, fix=f"Choose a multiple of {each}")
        changes["window"] = frames // each
    if size is not None and size < 1:
        raise UserError(f"frames of {size} pixels cannot be seen", where=where, fix="Choose a multiple of the patch size")
    if not changes:
        return config
    config = config.model_copy(update={"sampling": config.sampling.model_copy(update=changes)})
    check_sizes(config)
    return config
