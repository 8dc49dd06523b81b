"""Cross-Depth Alignment (Progressive Block Drop): heal a model after a drop, by LoRA, against the uncompressed teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from tadshrink.compress.losses import boundary_kd, class_kd, feature_loss
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.student import last_shared
from tadshrink.compress.teacher import Lesson, Teacher, Wanted
from tadshrink.compress.trace import Trace, run_traced
from tadshrink.data.loader import Batch
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.models.losses import detection_losses

#: Losses that compare tokens of blocks.
FEATURES = ("feature", "mid", "relation", "mid_relation")


class AlignmentLosses:
    """The losses of one batch, as called by the training loop.

    Args:
        first: original index of the first block of which anything is trained, as from
            :func:`~tadshrink.compress.student.first_trained`.
        memory: bytes for teacher outputs that are used again, see :class:`~tadshrink.compress.teacher.Teacher`.
    """

    def __init__(self, student: Detector, teacher: Detector, settings: AlignSettings, first: int | None = None, memory: int = 0) -> None:
        self.student, self.settings, self.first = student, settings, first
        self.shared = last_shared(student, teacher, first)
        self.teacher = Teacher(teacher, self._wanted(), memory)

    def _wanted(self) -> Wanted:
        settings = self.settings
        outputs = {index for index in self.student.blocks.indices if index >= (self.first or 0)}
        compared = outputs if settings.feature_weight or settings.relation_weight else set()
        return Wanted(outputs=frozenset(compared if self.shared is None else compared | {self.shared}),
                      mids=settings.mid_weight > 0 or settings.mid_relation_weight > 0,
                      head=settings.cls_kd_weight > 0 or settings.reg_kd_weight > 0)

    def described(self) -> str:
        """How much is trained, and what teacher and student share, in words."""
        parameters = list(self.student.parameters())
        trained = sum(value.numel() for value in parameters if value.requires_grad)
        said = f"{trained:,} of {sum(value.numel() for value in parameters):,} parameters are trained"
        if self.first is None:
            return said
        common = "nothing is shared, as the student differs from its teacher there" if self.shared is None else \
            f"teacher and student share what is before block {self.shared + 1}"
        return f"{said}, none before block {self.first}; {common}"

    def lesson(self, batch: Batch) -> Lesson:
        """The batch with what the teacher makes of it; may run in another thread, ahead of the student."""
        return self.teacher.lesson(batch)

    def __call__(self, lesson: Lesson) -> dict[str, Tensor]:
        """Weighted losses by name, without those of weight 0; "cls" and "reg" are against the annotations."""
        settings, batch, answer = self.settings, lesson.batch, lesson.answer
        trace, output = self._run(lesson)
        head = self.student.rpn_head
        task = detection_losses(output, batch.segments, batch.labels, head.loss_normalizer, self.student.config.head, training=True)

        def features(part: str, kind: str) -> Tensor:
            ours = getattr(trace, part)
            return feature_loss(ours, getattr(answer.trace, part), kind, shared=len(self.student.blocks.indices) - len(trace.outputs))

        losses = {
            "feature": (settings.feature_weight, lambda: features("outputs", "mse")),
            "mid": (settings.mid_weight, lambda: features("mids", "mse")),
            "relation": (settings.relation_weight, lambda: features("outputs", "relation")),
            "mid_relation": (settings.mid_relation_weight, lambda: features("mids", "relation")),
            "cls_kd": (settings.cls_kd_weight, lambda: class_kd(output.logits(), answer.logits, output.valid(), settings.temperature,
                                                               settings.cls_kd, task.targets.classes)),
            "reg_kd": (settings.reg_kd_weight, lambda: boundary_kd(output.segments(), answer.segments, task.targets.positive, settings.reg_kd)),
            "cls": (settings.task_weight, lambda: task.cls),
            "reg": (settings.task_weight, lambda: task.reg),
        }
        # A cut at the last block leaves no block to compare.
        return {name: weight * loss() for name, (weight, loss) in losses.items() if weight and (trace.outputs or name not in FEATURES)}

    def _run(self, lesson: Lesson) -> tuple[Trace, DetectorOutput]:
        """The student on a batch, and the trace of the blocks that are trained."""
        student, settings, trace = self.student, self.settings, Trace()
        tokens = self._start(lesson)
        student.train()
        mids = settings.mid_weight > 0 or settings.mid_relation_weight > 0
        tokens = run_traced(student, tokens, lesson.masks, trace, self.first or 0, mids=mids, checkpointing=settings.checkpointing)
        return trace, student.finish(student.pool(tokens, lesson.masks), lesson.masks)

    def _start(self, lesson: Lesson) -> Tensor:
        """What goes into the first block that is trained. Nothing random happens before it unless it is trained, too."""
        if self.first is None:
            return self.student.train().embed(lesson.inputs, lesson.masks)
        self.student.eval()
        with torch.no_grad():
            if self.shared is None:
                tokens, done = self.student.embed(lesson.inputs, lesson.masks), 0
            else:
                tokens, done = lesson.answer.trace.outputs[self.shared], self.shared + 1
            return run_traced(self.student, tokens, lesson.masks, Trace(), done, self.first - 1)
