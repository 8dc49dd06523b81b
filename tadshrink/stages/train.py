"""``train``: a baseline detector from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.data.datasets import HELDOUT, Dataset, load_dataset
from tadshrink.data.loader import Batch, TrainingSet
from tadshrink.data.video import FrameStore
from tadshrink.device import choose_compute
from tadshrink.files import check_output
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector
from tadshrink.models.losses import detection_losses
from tadshrink.models.presets import preset
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import SHARED_SAMPLING, DatasetChoice, Opened, Written, save_stage
from tadshrink.stages.evaluate import evaluate_detector
from tadshrink.stages.inputs import check_splits, data_state
from tadshrink.training.loop import Resume, Task, fit
from tadshrink.training.settings import TrainSettings


@dataclass(frozen=True)
class Trained(Written):
    """A trained baseline: mean losses per epoch and mAP on the held-out training videos."""

    curve: list[dict[str, float]]
    heldout: dict[str, Any]


def train(dataset: DatasetChoice, output: Path, arch: str = "videomae-nano", settings: TrainSettings | None = None,
          device: str | None = None, reporter: Reporter = SILENT) -> Trained:
    """Train a detector from random weights on the training split (without its held-out part) and write it to ``output``.

    The state after each epoch is kept beside the output until it is written, so that the same call resumes.
    """
    settings = settings or TrainSettings()
    check_output(output)
    data = load_dataset(dataset.name, dataset.root)
    check_splits(data, ["train", HELDOUT])
    config = config_for(arch, data)
    compute = choose_compute(device, config.compute_width)
    reporter.note(compute.reason)
    torch.manual_seed(settings.seed)
    detector = Detector(config).to(compute.device)
    store = FrameStore(config.sampling.frame_size)
    task = train_task(detector, TrainingSet(data, "train", config.sampling, store), settings)
    arguments = {**dataset.arguments(), "arch": arch, **settings.model_dump()}
    fingerprint = {"command": "train", **arguments, "config": config.model_dump(mode="json"), "data": data_state(data)}
    resume = Resume(output.with_name(output.name + ".training"), fingerprint)
    curve = fit(task, settings, compute, resume, "train", reporter)
    checkpoint = Checkpoint(config.model_dump(mode="json"), detector.state_dict(), list(config.classes))
    opened = Opened(output, checkpoint, detector.eval(), compute, "")
    heldout = evaluate_detector(opened, data, HELDOUT, store, reporter=reporter).to_json()
    written = save_stage(output, checkpoint, "train", arguments, None, {"heldout": heldout, "curve": curve})
    resume.path.unlink(missing_ok=True)
    return Trained(written.output, written.checksum, curve, heldout)


def config_for(arch: str, dataset: Dataset) -> DetectorConfig:
    """A preset with the dataset's classes and sampling."""
    config = preset(arch, dataset.classes)
    sampling = {key: getattr(dataset.config, key) for key in SHARED_SAMPLING}
    return config.model_copy(update={"sampling": config.sampling.model_copy(update=sampling)})


def train_task(detector: Detector, data: TrainingSet, settings: TrainSettings) -> Task:
    """The plain detection losses on random windows."""
    def losses(batch: Batch) -> dict[str, torch.Tensor]:
        device = next(detector.parameters()).device
        detector.train()
        output = detector(batch.inputs.to(device), batch.masks.to(device))
        result = detection_losses(output, batch.segments, batch.labels, detector.rpn_head.loss_normalizer, detector.config.head, training=True)
        return {"cls": result.cls, "reg": result.reg}

    return Task(detector, losses, lambda epoch: data.epoch(epoch, settings.batch_size, settings.seed, settings.augment),
                data.batches_per_epoch(settings.batch_size))
