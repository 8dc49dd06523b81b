"""The loss of recognisers, in the form of that of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tadshrink.recognition.recogniser import RecogniserOutput


@dataclass(frozen=True)
class ClassTargets:
    """What the one point of each video should say: classes one-hot ``[B, 1, K]``; no point is positive, as there are no boundaries."""

    classes: Tensor
    positive: Tensor


@dataclass(frozen=True)
class ClassLosses:
    """Cross-entropy, and a 0 in place of a loss of boundaries."""

    cls: Tensor
    reg: Tensor
    targets: ClassTargets

    @property
    def total(self) -> Tensor:
        """What training minimises."""
        return self.cls


def class_losses(output: RecogniserOutput, labels: Sequence[Tensor]) -> ClassLosses:
    """Mean over videos, of each the label ``[1]``."""
    logits = output.class_logits.float()
    numbers = torch.cat(list(labels)).to(logits.device)
    classes = functional.one_hot(numbers, logits.shape[-1]).to(logits)[:, None]
    loss = functional.cross_entropy(logits, numbers)
    return ClassLosses(loss, loss.new_zeros(()), ClassTargets(classes, classes.new_zeros(classes.shape[:2], dtype=torch.bool)))
