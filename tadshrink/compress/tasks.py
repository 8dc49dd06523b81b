"""What kinds of models are for, as far as it matters to those who compress them: their losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tadshrink.models.detector import Detector
from tadshrink.models.losses import DetectionLosses, detection_losses
from tadshrink.recognition.losses import ClassLosses, class_losses
from tadshrink.recognition.recogniser import ActionRecogniser

Losses = DetectionLosses | ClassLosses


@dataclass(frozen=True)
class Task:
    """One kind of model.

    Attributes:
        losses: of its output, against segments and labels of each window; the last argument is whether this is training.
        parts: of its losses that say something.
        distilled: what of its output can be compared with a teacher's, by names of losses.
        class_kd: how classes are distilled where the settings do not ask for more than the usual way.
    """

    losses: Callable[[Any, Any, Sequence[Tensor], Sequence[Tensor], bool], Losses]
    parts: tuple[str, ...]
    distilled: frozenset[str]
    class_kd: dict[str, str]


def _detection(model: Detector, output: Any, segments: Any, labels: Any, training: bool) -> Losses:
    normaliser = model.rpn_head.loss_normalizer
    return detection_losses(output, segments, labels, normaliser if training else normaliser.clone(), model.config.head, training)


#: By the class of the model.
TASKS: dict[type[nn.Module], Task] = {
    Detector: Task(_detection, ("cls", "reg"), frozenset({"cls_kd", "reg_kd"}), {}),
    # A softmax over classes says what a trimmed video shows, and nothing says where.
    ActionRecogniser: Task(lambda model, output, segments, labels, training: class_losses(output, labels), ("cls",),
                           frozenset({"cls_kd"}), {"binary": "softmax"}),
}
