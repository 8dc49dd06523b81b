"""``sfc train``: a compressing module for a recogniser that stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.data.datasets import HELDOUT
from tadshrink.distributed import check_alone
from tadshrink.files import check_output
from tadshrink.recognition.config import ONE_PASS, SfcConfig, check_sizes
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.recognition.recogniser import with_module
from tadshrink.recognition.settings import ModuleTrainSettings
from tadshrink.recognition.training import HeadFeatures, LabelledVideos, measure_norms, module_task
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import save_stage
from tadshrink.stages.recognisers import OpenedRecogniser, RecognitionChoice, fitted, judge, labels_of, open_recogniser
from tadshrink.stages.sfc_base import TrainedRecogniser
from tadshrink.training.loop import Resume, fit


def train_module(checkpoint: Path | ModelFile, dataset: RecognitionChoice, output: Path, sfc: SfcConfig,
                 settings: ModuleTrainSettings | None = None, device: str | None = None, reporter: Reporter = SILENT) -> TrainedRecogniser:
    """Train an SFC module on the training videos (without those held out), in place of one that the recogniser may have.

    No other weight changes, and no statistics of a batch norm. The state after each epoch is kept beside the output until it is
    written, so that the same call resumes.

    Raises:
        UserError: unreadable input, other classes than the recogniser's, or a split that it does not have.
    """
    settings = settings or ModuleTrainSettings()
    check_alone("sfc train")
    check_output(output)
    sfc = _in_turn(sfc, reporter)
    opened = open_recogniser(checkpoint, device, reporter)
    check_sizes(opened.recogniser.config.model_copy(update={"sfc": sfc}), opened.path, "Change --split-at, --pool, --ratio or --topk")
    data = dataset.load(reporter)
    records, held = data.to_learn()
    opened = fitted(opened, data, reporter)
    if opened.recogniser.sfc is not None:
        reporter.note("the recogniser has a module already: a new one takes its place")
    torch.manual_seed(settings.seed)
    recogniser = with_module(opened.recogniser, sfc).to(opened.compute.device)
    opened = replace(opened, detector=recogniser)
    source = opened.source(reporter, data.config.augment)
    videos = LabelledVideos(records, labels_of(records, recogniser.config.classes), source)
    features = HeadFeatures(recogniser, videos, opened.compute, settings, reporter)
    task = module_task(recogniser, features, settings)
    arguments = {**dataset.arguments(), "sfc": sfc.model_dump(mode="json"), **settings.model_dump()}
    resume = Resume(output.with_name(output.name + ".training"), _fingerprint(opened, arguments, data))
    curve = fit(task, settings, opened.compute, resume, "train the module", reporter)
    measure_norms(task, opened.compute)
    heldout = judge(opened, held, None, source, settings.batch_size * sfc.clips, f"evaluate {HELDOUT}", reporter).to_json()
    # A ranking was measured on the model without this module.
    made = replace(opened.checkpoint, architecture=recogniser.config.model_dump(mode="json"), state=recogniser.state_dict(), ranking=None)
    written = save_stage(output, made, "sfc train", arguments, opened.checksum, {"heldout": heldout, "views": ONE_PASS, "curve": curve})
    resume.path.unlink(missing_ok=True)
    return TrainedRecogniser(written.output, written.checksum, curve, heldout, ONE_PASS)


def _fingerprint(opened: OpenedRecogniser, arguments: dict[str, Any], data: RecognitionDataset) -> dict[str, Any]:
    """All that the result depends on, so not where features are kept."""
    settings = {name: value for name, value in arguments.items() if name != "keep_mib"}
    return {"command": "sfc train", "parent": opened.checksum, **settings, "config": opened.recogniser.config.model_dump(mode="json"),
            "dropped": opened.checkpoint.dropped, "data": data.state(), "device": opened.compute.kind}


def _in_turn(sfc: SfcConfig, reporter: Reporter) -> SfcConfig:
    """With no more crops in turn than there are clips, so that all of the picture is seen."""
    if sfc.crops <= sfc.clips:
        return sfc
    reporter.note(f"{sfc.clips} clips take turns with as many crops, not {sfc.crops}")
    return sfc.model_copy(update={"crops": sfc.clips})
