"""``sfc base``: a recogniser from scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.data.datasets import HELDOUT
from tadshrink.device import choose_compute
from tadshrink.distributed import check_alone
from tadshrink.errors import UserError
from tadshrink.files import check_output
from tadshrink.models.vit import VideoViT
from tadshrink.recognition.config import RecogniserConfig, SlowOnlyConfig
from tadshrink.recognition.presets import preset
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.recognition.settings import ClipTrainSettings
from tadshrink.recognition.training import LabelledVideos, clip_task, measure_norms
from tadshrink.recognition.views import Views
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import Written, save_stage
from tadshrink.stages.recognisers import OpenedRecogniser, RecognitionChoice, judge, labels_of
from tadshrink.stages.train import load_backbone
from tadshrink.training.loop import Resume, fit

#: How the result is judged on the held-out videos.
VIEWS = Views(10, 1)


@dataclass(frozen=True)
class TrainedRecogniser(Written):
    """A recogniser that was trained: mean losses per epoch, and accuracy on the held-out training videos with ``views``."""

    curve: list[dict[str, float]]
    heldout: dict[str, Any]
    views: str


def train_base(dataset: RecognitionChoice, output: Path, arch: str = "recogniser-nano", settings: ClipTrainSettings | None = None,
               device: str | None = None, reporter: Reporter = SILENT, clip: dict[str, int] | None = None,
               init: Path | None = None) -> TrainedRecogniser:
    """Train a recogniser on random clips of the training videos (without those held out) and write it to ``output``.

    The state after each epoch is kept beside the output until it is written, so that the same call resumes.

    Args:
        clip: values of the architecture's :class:`~tadshrink.recognition.config.ClipConfig` that are to be others.
        init: what a ViT starts from, VideoMAE weights or a detector; by default all weights are random.

    Raises:
        UserError: unreadable input, an unknown architecture, a clip that it cannot take, or weights of another architecture.
    """
    settings = settings or ClipTrainSettings()
    check_alone("sfc base")
    check_output(output)
    data = dataset.load(reporter)
    records, held = data.to_learn()
    config = _with_clip(preset(arch, data.classes), clip or {}, arch)
    _check_batch(config, settings.batch_size)
    compute = choose_compute(device, config.compute_width)
    reporter.note(compute.reason)
    torch.manual_seed(settings.seed)
    recogniser = ActionRecogniser(config)
    start = initialise(recogniser, init, reporter)
    recogniser = recogniser.to(compute.device)
    opened = OpenedRecogniser(output, Checkpoint(config.model_dump(mode="json"), {}, list(config.classes)), recogniser, compute, "")
    source = opened.source(reporter, data.config.augment)
    task = clip_task(recogniser, LabelledVideos(records, labels_of(records, config.classes), source), settings)
    arguments = {**dataset.arguments(), "arch": arch, "clip_config": config.clip.model_dump(), **start, **settings.model_dump()}
    resume = Resume(output.with_name(output.name + ".training"),
                    {"command": "sfc base", **arguments, "config": config.model_dump(mode="json"), "data": data.state(),
                     "device": compute.kind})
    curve = fit(task, settings, compute, resume, "train on clips", reporter)
    measure_norms(task, compute)
    heldout = judge(opened, held, VIEWS, source, settings.batch_size, f"evaluate {HELDOUT}", reporter).to_json()
    checkpoint = Checkpoint(opened.checkpoint.architecture, recogniser.state_dict(), list(config.classes))
    written = save_stage(output, checkpoint, "sfc base", arguments, None, {"heldout": heldout, "views": str(VIEWS), "curve": curve})
    resume.path.unlink(missing_ok=True)
    return TrainedRecogniser(written.output, written.checksum, curve, heldout, str(VIEWS))


def initialise(recogniser: ActionRecogniser, init: Path | None, reporter: Reporter) -> dict[str, str]:
    """Put weights into a ViT; returns what is recorded of them.

    Raises:
        UserError: they cannot be read, or are those of another architecture.
    """
    if init is None:
        return {}
    if not isinstance(recogniser.backbone, VideoViT):
        raise UserError("these are weights of a ViT, and the architecture is another", where=init, fix="Leave out --init")
    return load_backbone(recogniser.backbone, init, recogniser.config.name, reporter)


def _check_batch(config: RecogniserConfig, batch_size: int) -> None:
    """Batch norms need two values or more; the last stage of a slow-only network has a 32nd of the side."""
    if isinstance(config.backbone, SlowOnlyConfig) and batch_size * config.clip.frames * math.ceil(config.clip.size / 32) ** 2 < 2:
        raise UserError("one frame of so few pixels is too little for batch norms to learn from", fix="Choose a larger --batch-size")


def _with_clip(config: RecogniserConfig, clip: dict[str, int], arch: str) -> RecogniserConfig:
    data = config.model_dump()
    return RecogniserConfig.parse(data | {"clip": data["clip"] | clip}, arch)
