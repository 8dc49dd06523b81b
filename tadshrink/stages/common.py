"""What every stage does first and last: open a checkpoint and a dataset, write a checkpoint with its history."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tadshrink.checkpoint.format import Checkpoint, record
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.checkpoint.opening import ModelFile, build_model, path_of, read_model
from tadshrink.compress.lora import split_lora
from tadshrink.data.datasets import Dataset, load_dataset
from tadshrink.device import Compute, choose_compute
from tadshrink.evaluation.fusion import VideoScores
from tadshrink.models.detector import Detector
from tadshrink.reporting import Reporter
from tadshrink.stages.inputs import as_one_class, check_dataset, named_classes, without_absent


@dataclass(frozen=True)
class DatasetChoice:
    """A dataset by built-in name or YAML path, and the folder it lies in (``None``: the default).

    With ``allow_missing``, videos whose files are not here are left out; otherwise they are an error.
    """

    name: str
    root: Path | None = None
    allow_missing: bool = False

    def arguments(self) -> dict[str, Any]:
        """As recorded in a checkpoint's history."""
        given = {"dataset": self.name, "root": str(self.root) if self.root else None}
        return given | {"allow_missing": True} if self.allow_missing else given

    def load(self, reporter: Reporter) -> Dataset:
        """Read the dataset; see :func:`~tadshrink.data.datasets.load_dataset`."""
        dataset = load_dataset(self.name, self.root, reporter)
        return without_absent(dataset, reporter) if self.allow_missing else dataset


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was read, and its detector in eval mode on the chosen device."""

    path: Path
    checkpoint: Checkpoint
    detector: Detector
    compute: Compute
    checksum: str


AnyOpened = TypeVar("AnyOpened", bound=Opened)


@dataclass(frozen=True)
class Written:
    """A checkpoint that was written: its path and the checksum of its weights."""

    output: str
    checksum: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def open_detector(file: Path | ModelFile, device: str | None, reporter: Reporter) -> Opened:
    """Read a checkpoint and build its detector, LoRA included.

    Raises:
        UserError: a file that is not a sound checkpoint, or weights that do not fit its architecture.
    """
    path = path_of(file)
    checkpoint = read_model(file, reporter)
    return placed(path, checkpoint, build_model(checkpoint, where=path), device, reporter)


def placed(path: Path, checkpoint: Checkpoint, model: Any, device: str | None, reporter: Reporter) -> Opened:
    """The model of a checkpoint, a detector or a recogniser, on the device that is chosen; which one, and why, is told."""
    compute = choose_compute(device, model.config.compute_width)
    reporter.note(compute.reason)
    return Opened(path, checkpoint, model.to(compute.device), compute, checkpoint.checksum)


def open_pair(file: Path | ModelFile, choice: DatasetChoice, device: str | None, reporter: Reporter,
              scores: VideoScores | None = None) -> tuple[Opened, Dataset]:
    """A model and a dataset that mean the same to each other, see :func:`fitted`."""
    opened = open_detector(file, device, reporter)
    return fitted(opened, choice.load(reporter), reporter, scores)


def fitted(opened: Opened, dataset: Dataset, reporter: Reporter, scores: VideoScores | None = None) -> tuple[Opened, Dataset]:
    """The model with the dataset's class names if it has none, and the dataset with one class if the model has only one.

    Args:
        scores: name the proposals of a model of one class, so that the dataset keeps its classes.

    Raises:
        UserError: the dataset differs from what the model was trained for.
    """
    where = dataset.config.name
    if scores is None or len(opened.detector.config.classes) > 1:
        dataset = as_one_class(dataset, opened.detector.config, reporter)
        opened = renamed(opened, named_classes(opened.detector.config, dataset, where, reporter).classes)
    check_dataset(dataset, opened.detector.config, where, scores)
    return opened, dataset


def renamed(opened: AnyOpened, classes: tuple[str, ...]) -> AnyOpened:
    """The model with these names of its classes, and a checkpoint that says so."""
    if classes == opened.detector.config.classes:
        return opened
    opened.detector.config = opened.detector.config.model_copy(update={"classes": classes})
    architecture = opened.detector.config.model_dump(mode="json")
    return replace(opened, checkpoint=replace(opened.checkpoint, architecture=architecture, classes=list(classes)))


def save_stage(output: Path, checkpoint: Checkpoint, command: str, arguments: dict[str, Any], parent: str | None,
               metrics: dict[str, Any]) -> Written:
    """Write a checkpoint with one more history entry."""
    return Written(str(output), save_checkpoint(output, record(checkpoint, command, arguments, metrics, parent)))


def with_weights(checkpoint: Checkpoint, detector: Detector) -> Checkpoint:
    """The checkpoint with the detector's weights; LoRA goes to its own place."""
    own, updates = split_lora(detector)
    lora = {**checkpoint.lora, "state": updates} if checkpoint.lora and updates else None
    return replace(checkpoint, state=own, lora=lora)
