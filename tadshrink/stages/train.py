"""``train``: a baseline detector from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tadshrink.checkpoint.format import Checkpoint, weights_checksum
from tadshrink.checkpoint.pretrained import backbone_weights
from tadshrink.data.datasets import HELDOUT, Dataset
from tadshrink.data.features import FeatureSource, measure_scale
from tadshrink.data.loader import Batch, TrainingSet
from tadshrink.data.sources import Source, VideoSource, common_rate, open_source
from tadshrink.device import choose_compute
from tadshrink.distributed import check_alone
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import read_lengths, split_videos
from tadshrink.files import check_output
from tadshrink.models.config import BackboneConfig, DetectorConfig
from tadshrink.models.detector import Detector, weight_problems
from tadshrink.models.losses import detection_losses
from tadshrink.models.presets import architecture
from tadshrink.models.vit import VideoViT
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, Written, save_stage
from tadshrink.stages.evaluate import evaluate_detector
from tadshrink.stages.inputs import check_splits, data_state, fit_dataset
from tadshrink.training.draws import Draws
from tadshrink.training.loop import Resume, Task, fit
from tadshrink.training.settings import TrainSettings


@dataclass(frozen=True)
class Trained(Written):
    """A trained baseline: mean losses per epoch and mAP on the held-out training videos."""

    curve: list[dict[str, float]]
    heldout: dict[str, Any]


def train(dataset: DatasetChoice, output: Path, arch: str = "videomae-nano", settings: TrainSettings | None = None,
          device: str | None = None, reporter: Reporter = SILENT, init: Path | None = None) -> Trained:
    """Train a detector on the training split (without its held-out part) and write it to ``output``.

    The state after each epoch is kept beside the output until it is written, so that the same call resumes.

    Args:
        init: what the backbone starts from, VideoMAE weights or a detector; by default all weights are random.

    Raises:
        UserError: unreadable input, or weights of another architecture.
    """
    settings = settings or TrainSettings()
    check_alone("train")
    check_output(output)
    data = dataset.load(reporter)
    check_splits(data, ["train", HELDOUT])
    config = config_for(arch, data)
    compute = choose_compute(device, config.compute_width)
    reporter.note(compute.reason)
    torch.manual_seed(settings.seed)
    detector = Detector(config)
    start = initialise_backbone(detector, init, reporter)
    detector = detector.to(compute.device)
    source = open_source(data, config.sampling, reporter)
    read_lengths(split_videos(data, "train"), source, "train", reporter)
    measure_features(detector, data, source)
    task = train_task(detector, TrainingSet(data, "train", source), settings)
    arguments = {**dataset.arguments(), "arch": arch, **start, **settings.model_dump()}
    fingerprint = {"command": "train", **arguments, "config": config.model_dump(mode="json"), "data": data_state(data),
                   "device": compute.kind}
    resume = Resume(output.with_name(output.name + ".training"), fingerprint)
    curve = fit(task, settings, compute, resume, "train", reporter)
    config = _with_rate(config, data, source)
    checkpoint = Checkpoint(config.model_dump(mode="json"), detector.state_dict(), list(config.classes))
    opened = Opened(output, checkpoint, detector.eval(), compute, "")
    heldout = evaluate_detector(opened, data, HELDOUT, source, reporter=reporter).to_json()
    written = save_stage(output, checkpoint, "train", arguments, None, {"heldout": heldout, "curve": curve})
    resume.path.unlink(missing_ok=True)
    return Trained(written.output, written.checksum, curve, heldout)


def config_for(arch: str, dataset: Dataset) -> DetectorConfig:
    """A preset, or the architecture in a file, with the dataset's classes and sampling."""
    return fit_dataset(architecture(arch, dataset.classes), dataset)


def _with_rate(config: DetectorConfig, data: Dataset, source: Source) -> DetectorConfig:
    """With the frame rate of the training videos, if they have one: ``detect`` then takes videos of any rate."""
    if not isinstance(source, VideoSource):
        return config
    rate = common_rate(source, split_videos(data, "train"))
    return config.model_copy(update={"sampling": config.sampling.model_copy(update={"fps": rate})})


def measure_features(detector: Detector, data: Dataset, source: Source) -> None:
    """Measure the scale of the training features, if the detector is to bring them to one scale."""
    if isinstance(source, FeatureSource) and detector.config.backbone.normalise:
        detector.standardise.measured(*measure_scale(source, map(data.video, data.split("train"))))


def initialise_backbone(detector: Detector, init: Path | None, reporter: Reporter) -> dict[str, str]:
    """Put weights into the backbone; returns what is recorded of them: the file, and a checksum of its weights.

    Raises:
        UserError: they cannot be read, or are those of another architecture.
    """
    if init is None:
        return {}
    if not isinstance(detector.config.backbone, BackboneConfig):
        raise UserError("a detector on features has no backbone to start from these weights", where=init, fix="Leave out --init")
    return load_backbone(detector.backbone.vit, init, detector.config.name, reporter)


def load_backbone(vit: VideoViT, init: Path, name: str, reporter: Reporter) -> dict[str, str]:
    """Put the weights of a file into a ViT, but for adapters; ``name`` is what messages call the architecture."""
    state = backbone_weights(init, vit.config.chunk_frames, reporter)
    expected = {key: value for key, value in vit.state_dict().items() if ".adapter." not in key}
    if problems := weight_problems(expected, state):
        raise UserError(f"not the weights of {name}: {problems}", where=init, fix="Choose --arch by the size of the weights")
    vit.load_state_dict(state, strict=False)
    return {"init": str(init), "init_checksum": weights_checksum(state, None)}


def train_task(detector: Detector, data: TrainingSet, settings: TrainSettings) -> Task:
    """The plain detection losses on random windows."""
    def losses(batch: Batch) -> dict[str, torch.Tensor]:
        device = next(detector.parameters()).device
        detector.train()
        output = detector(batch.inputs.to(device), batch.masks.to(device))
        result = detection_losses(output, batch.segments, batch.labels, detector.rpn_head.loss_normalizer, detector.config.head, training=True)
        return {"cls": result.cls, "reg": result.reg}

    draws = Draws(data, settings.batch_size, settings.seed, settings.augment)
    return Task(detector, losses, draws.epoch, draws.batches_per_epoch)
