"""What a report does not tell, since nobody measured it."""

from __future__ import annotations

from collections.abc import Callable

from tadshrink.checkpoint.format import trained_here
from tadshrink.report.findings import Findings

_Rule = tuple[Callable[[Findings], bool], str]


def _always(findings: Findings) -> bool:
    return True


def _detector(findings: Findings) -> bool:
    return not (findings.is_run or findings.recogniser)


def _recogniser(findings: Findings) -> bool:
    return findings.recogniser


def _run(findings: Findings) -> bool:
    return findings.is_run


#: When it is so, and what is missing then.
_RULES: tuple[_Rule, ...] = (
    (_detector, "Accuracy on held-out and on test videos, per class as well, and what each drop did to it: a checkpoint does not hold it "
                "(tadshrink eval)."),
    (_detector, "Latency and speed-up (tadshrink profile CKPT --vs BASE)."),
    (_detector, "Detections in videos (tadshrink detect)."),
    (_recogniser, "Accuracy on test videos, per class as well, and what each drop did to it: a checkpoint does not hold it "
                  "(tadshrink sfc eval)."),
    (_recogniser, "Latency and memory of each way to classify a video (tadshrink profile)."),
    (_recogniser, "What it sees in videos (tadshrink sfc classify)."),
    (lambda found: _detector(found) and not any(step.ranking for step in found.steps),
     "Rankings of the blocks: they go when a block is dropped; the files selected.pth of a run hold them."),
    (lambda found: found.recogniser and found.depth > 0 and not any(step.ranking for step in found.steps),
     "Rankings of the blocks: they go when a block is dropped (tadshrink select)."),
    (lambda found: found.is_run and not any(step.ranking for step in found.steps), "A ranking of blocks: no selection took place."),
    (lambda found: not any(step.curve for step in found.steps), "Losses: nothing was trained or aligned, or for no epoch."),
    (lambda found: found.is_run and (found.final is None or not found.final.test), "Accuracy on the test videos: the run has not ended."),
    (lambda found: found.is_run and not trained_here(found.history),
     "Whether the baseline was trained on the held-out videos: its history does not tell. If so, they show too little of what a drop costs."),
    (_run, "The error of the mAP: one run, one seed. tadshrink eval tells the range that resampling the test videos gives; other seeds "
           "(--seed) tell how far runs differ."),
    (_run, "Decoding of videos, batches and memory: each time is that of one window of random input on the device named above, the model "
           "alone. tadshrink profile tells frames per second and peak memory; other devices were not looked at."),
    (_always, "Norms, softmax, activations and elementwise operations: multiply-adds are those of matrix products, convolutions and "
              "attention (convention \"full\")."),
)


def missing(findings: Findings) -> list[str]:
    """What was not measured, and how to, in sentences."""
    return [*findings.notes, *(text for holds, text in _RULES if holds(findings))]
