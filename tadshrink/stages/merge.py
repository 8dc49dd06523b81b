"""``merge``: fold a checkpoint's LoRA into its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from tadshrink.checkpoint.opening import ModelFile
from tadshrink.compress.lora import merged_copy
from tadshrink.compress.passes import whole_output
from tadshrink.errors import UserError
from tadshrink.files import check_output
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.recognition.recogniser import RecogniserOutput
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import DatasetChoice, Opened, Written, save_stage, with_weights
from tadshrink.stages.samples import Samples, sample_windows
from tadshrink.stages.sides import open_either

#: Largest change of any output, relative to the largest output of its kind, that rounding alone may cause in float32.
TOLERANCE = 1e-4
#: Windows on which the merged model is compared.
WINDOWS = 4


@dataclass(frozen=True)
class Merged(Written):
    """A checkpoint without LoRA, and the largest relative change of an output that merging caused."""

    max_difference: float


def merge(checkpoint: Path | ModelFile, output: Path, dataset: DatasetChoice | None = None, tolerance: float = TOLERANCE,
          device: str | None = None, reporter: Reporter = SILENT) -> Merged:
    """Fold LoRA into a copy of the weights, compare outputs on real windows, and write the copy if they agree.

    Args:
        dataset: where the windows come from; by default the dataset of the last ``align`` in the checkpoint's history. Where there
            is none, as in files of other code bases, the outputs are compared on one window of noise.

    Raises:
        UserError: there is no LoRA to merge, or the outputs differ by more than ``tolerance``.
    """
    check_output(output)
    opened = open_either(checkpoint, device, reporter)
    if not opened.checkpoint.lora:
        raise UserError("there is no LoRA to merge", where=checkpoint, fix="Only what alignment wrote needs merging")
    choice = dataset or _last_dataset(opened)
    merged = merged_copy(opened.detector)
    difference, samples = sampled_difference(opened, opened.detector, merged, WINDOWS, choice)
    seen = samples.text + ("" if samples.real else ", as no dataset is known (--dataset)")
    reporter.note(f"merged on a copy; outputs differ by {difference:.1e} of the largest (limit {tolerance:g}) on {seen}")
    if not difference <= tolerance:
        raise UserError(f"the merged model's outputs differ by {difference:.2e}, above the tolerance {tolerance:g}: nothing was written",
                        where=checkpoint, fix="If this is acceptable, tadshrink merge takes a larger --tolerance")
    plain = with_weights(replace(opened.checkpoint, lora=None), merged)
    arguments = {**(choice.arguments() if choice else {}), "tolerance": tolerance}
    written = save_stage(output, plain, "merge", arguments, opened.checksum, {"max_difference": difference})
    return Merged(written.output, written.checksum, difference)


def sampled_difference(opened: Opened, first: Detector, second: Detector, count: int,
                       dataset: DatasetChoice | None) -> tuple[float, Samples]:
    """:func:`largest_difference` of two forms of an opened model on :func:`~tadshrink.stages.samples.sample_windows`, which come with it."""
    samples, device = sample_windows(opened, count, dataset), opened.compute.device
    return largest_difference(first.to(device), second.to(device), samples.inputs.to(device), samples.masks.to(device)), samples


@torch.inference_mode()
def largest_difference(first: Detector, second: Detector, inputs: Tensor, masks: Tensor) -> float:
    """Largest difference of a class logit or of an offset (in strides), relative to the largest of its kind (at least 1)."""
    pairs = zip(*(_outputs(whole_output(model.eval(), inputs, masks)) for model in (first, second)), strict=True)
    # Torch's maximum passes on what is not a number; Python's may lose it.
    return float(torch.stack([(ours - theirs).abs().max() / ours.abs().max().clamp(min=1.0) for ours, theirs in pairs]).max())


def _outputs(output: DetectorOutput | RecogniserOutput) -> list[Tensor]:
    return [output.logits(), *([torch.cat(output.offsets, dim=1)] if isinstance(output, DetectorOutput) else [])]


def _last_dataset(opened: Opened) -> DatasetChoice | None:
    for entry in reversed(opened.checkpoint.history):
        if entry["command"] == "align":
            arguments = entry["arguments"]
            root = Path(arguments["root"]) if arguments["root"] else None
            return DatasetChoice(arguments["dataset"], root, arguments.get("allow_missing", False))
    return None
