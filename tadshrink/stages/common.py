"""What every stage does first and last: open a checkpoint and a dataset, write a checkpoint with its history."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.format import Checkpoint, record
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.compress.lora import load_lora, split_lora
from tadshrink.data.datasets import Dataset, load_dataset
from tadshrink.device import Compute, choose_compute
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector, build_detector
from tadshrink.reporting import Reporter

#: Sampling settings that a dataset must share with the model for its windows to mean the same.
SHARED_SAMPLING = ("window", "frames_per_cell", "snippet_stride", "frame_size")


@dataclass(frozen=True)
class DatasetChoice:
    """A dataset by built-in name or YAML path, and the folder it lies in (``None``: the default)."""

    name: str
    root: Path | None = None

    def arguments(self) -> dict[str, Any]:
        """As recorded in a checkpoint's history."""
        return {"dataset": self.name, "root": str(self.root) if self.root else None}


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was read, and its detector in eval mode on the chosen device."""

    path: Path
    checkpoint: Checkpoint
    detector: Detector
    compute: Compute
    checksum: str


@dataclass(frozen=True)
class Written:
    """A checkpoint that was written: its path and the checksum of its weights."""

    output: str
    checksum: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def open_detector(path: Path, device: str | None, reporter: Reporter) -> Opened:
    """Read a checkpoint and build its detector, LoRA included.

    Raises:
        UserError: a file that is not a sound checkpoint, or weights that do not fit its architecture.
    """
    checkpoint = load_checkpoint(path)
    config = DetectorConfig.parse(checkpoint.architecture, where=path)
    detector = build_detector(config, checkpoint.state, tuple(checkpoint.dropped), where=path)
    if checkpoint.lora:
        load_lora(detector, checkpoint.lora, where=path)
    compute = choose_compute(device, config.compute_width)
    reporter.note(compute.reason)
    return Opened(path, checkpoint, detector.eval().to(compute.device), compute, checkpoint.checksum)


def open_dataset(choice: DatasetChoice, config: DetectorConfig) -> Dataset:
    """Read a dataset and check that it has the model's classes and sampling.

    Raises:
        UserError: it cannot be read, or it differs from what the model was trained for.
    """
    dataset = load_dataset(choice.name, choice.root)
    if dataset.classes != config.classes:
        raise UserError(f"the dataset's classes ({', '.join(dataset.classes)}) are not the model's ({', '.join(config.classes)})",
                        where=choice.name, fix="Use the dataset that the model was trained on, with its class order")
    differing = [f"{key} {getattr(dataset.config, key)} (model: {getattr(config.sampling, key)})" for key in SHARED_SAMPLING
                 if getattr(dataset.config, key) != getattr(config.sampling, key)]
    if differing:
        raise UserError(f"sampling differs from the model's: {'; '.join(differing)}", where=choice.name,
                        fix="Give the dataset YAML the model's values")
    return dataset


def save_stage(output: Path, checkpoint: Checkpoint, command: str, arguments: dict[str, Any], parent: str | None,
               metrics: dict[str, Any]) -> Written:
    """Write a checkpoint with one more history entry."""
    return Written(str(output), save_checkpoint(output, record(checkpoint, command, arguments, metrics, parent)))


def with_weights(checkpoint: Checkpoint, detector: Detector) -> Checkpoint:
    """The checkpoint with the detector's weights; LoRA goes to its own place."""
    own, updates = split_lora(detector)
    lora = {**checkpoint.lora, "state": updates} if checkpoint.lora and updates else None
    return replace(checkpoint, state=own, lora=lora)
