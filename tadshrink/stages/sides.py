"""The two kinds of models that blocks are dropped from, each with its data: detectors, and recognisers of trimmed videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile, build_model, path_of
from tadshrink.compress.lora import load_lora
from tadshrink.data.datasets import Dataset
from tadshrink.data.loader import TrainingSet
from tadshrink.data.sources import Source, file_source, open_source
from tadshrink.data.timeline import Video
from tadshrink.models.body import BODIES, CLIP_BODY
from tadshrink.models.config import DetectorConfig
from tadshrink.profiling.windows import example_window
from tadshrink.recognition.config import RecogniserConfig, is_recogniser
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.recognition.opening import read_either
from tadshrink.recognition.recogniser import ActionRecogniser, build_recogniser
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.recognition.views import noise
from tadshrink.recognition.windows import ClipTrainingSet, ClipWindows
from tadshrink.reporting import Reporter
from tadshrink.stages import recognisers
from tadshrink.stages.common import DatasetChoice, Opened, fitted, placed
from tadshrink.stages.inputs import check_files, check_splits, data_state
from tadshrink.stages.recognisers import RecognitionChoice


@dataclass(frozen=True)
class Side:
    """One kind of model and data.

    Attributes:
        config: from the architecture in a checkpoint, and what errors name.
        body: where the blocks of a model of such a configuration are.
        build: the model of a checkpoint in eval mode on the CPU, LoRA included.
        load: the dataset that was chosen.
        fitted: model and dataset that mean the same to each other.
        check: that splits have all that is needed; the last argument is whether annotations are.
        state: what changes when the dataset does.
        source: of a dataset's windows, for a model.
        file: the source of one file that belongs to no dataset.
        training: random windows of a split.
        noise: one window, and its mask.
    """

    config: Callable[[dict[str, Any], object], Any]
    body: Callable[[Any], Any]
    build: Callable[[Checkpoint, object], Any]
    load: Callable[[DatasetChoice, Reporter], Any]
    fitted: Callable[[Opened, Any, Reporter], tuple[Opened, Any]]
    check: Callable[[Any, Sequence[str], bool], None]
    state: Callable[[Any], dict[str, Any]]
    source: Callable[[Any, Any, Reporter], Source]
    file: Callable[[Any, Video], Source]
    training: Callable[[Any, str, Any], Any]
    noise: Callable[[Any], tuple[Tensor, Tensor]]


def _check_detection(data: Dataset, splits: Sequence[str], annotated: bool) -> None:
    (check_splits if annotated else check_files)(data, splits)


def _build_recogniser(checkpoint: Checkpoint, where: object) -> ActionRecogniser:
    config = RecogniserConfig.parse(checkpoint.architecture, where)
    recogniser = build_recogniser(config, checkpoint.state, tuple(checkpoint.dropped), where)
    if checkpoint.lora:
        load_lora(recogniser, checkpoint.lora, where)
    return recogniser.eval()


def _fitted_recogniser(opened: Opened, data: RecognitionDataset, reporter: Reporter) -> tuple[Opened, RecognitionDataset]:
    return recognisers.fitted(opened, data, reporter), replace(data, classes=opened.detector.config.classes)


def _check_recognition(data: RecognitionDataset, splits: Sequence[str], annotated: bool) -> None:
    for split in splits:
        data.split(split)


def _noise(config: RecogniserConfig) -> tuple[Tensor, Tensor]:
    count = config.sfc.clips if config.sfc else 1
    return noise(config.clip, count), torch.ones(1, count, dtype=torch.bool)


DETECTION = Side(
    config=lambda architecture, where: DetectorConfig.parse(architecture, where=where),
    body=lambda config: BODIES[type(config.backbone)],
    build=build_model,
    load=lambda choice, reporter: choice.load(reporter),
    fitted=fitted,
    check=_check_detection,
    state=data_state,
    source=lambda data, config, reporter: open_source(data, config.sampling, reporter),
    file=lambda config, video: file_source(config, video.path),
    training=TrainingSet,
    noise=example_window,
)
RECOGNITION = Side(
    config=RecogniserConfig.parse,
    body=lambda config: CLIP_BODY,
    build=_build_recogniser,
    load=lambda choice, reporter: RecognitionChoice(choice.name, choice.root, choice.allow_missing).load(reporter),
    fitted=_fitted_recogniser,
    check=_check_recognition,
    state=RecognitionDataset.state,
    source=lambda data, config, reporter: ClipWindows(data.records, config, data.config.augment, reporter),
    file=lambda config, video: ClipWindows([TrimmedVideo(video.name, video.path, "")], config),
    training=ClipTrainingSet,
    noise=_noise,
)


def side_of(checkpoint: Checkpoint) -> Side:
    """What kind of model a checkpoint is."""
    return RECOGNITION if is_recogniser(checkpoint.architecture) else DETECTION


def open_either(file: Path | ModelFile, device: str | None, reporter: Reporter) -> Opened:
    """Read a checkpoint of either kind and build its model, LoRA included.

    Raises:
        UserError: a file that is not a sound checkpoint, or weights that do not fit its architecture.
    """
    path = path_of(file)
    checkpoint = read_either(file, reporter)
    return placed(path, checkpoint, side_of(checkpoint).build(checkpoint, path), device, reporter)


def open_both(file: Path | ModelFile, choice: DatasetChoice, device: str | None, reporter: Reporter) -> tuple[Opened, Any]:
    """A model and a dataset that mean the same to each other.

    Raises:
        UserError: as :func:`open_either`, or the dataset cannot be read or is not for this model.
    """
    opened = open_either(file, device, reporter)
    side = side_of(opened.checkpoint)
    return side.fitted(opened, side.load(choice, reporter), reporter)
