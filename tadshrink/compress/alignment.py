"""Cross-Depth Alignment (Progressive Block Drop): heal a model after a drop, by LoRA, against the uncompressed teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tadshrink.compress.losses import boundary_kd, class_kd, feature_loss
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.student import last_shared
from tadshrink.compress.tasks import TASKS
from tadshrink.compress.teacher import Lesson, Teacher, Wanted
from tadshrink.compress.trace import Trace, run_traced
from tadshrink.data.loader import Batch
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector, DetectorOutput

#: Losses that compare tokens of blocks, and which part of a :class:`~tadshrink.compress.trace.Trace` they look at.
FEATURES = {"feature": "outputs", "mid": "mids", "relation": "outputs", "mid_relation": "mids"}


class AlignmentLosses:
    """The losses of one batch, as called by the training loop.

    Args:
        first: original index of the first block of which anything is trained, as from
            :func:`~tadshrink.compress.student.first_trained`.
        memory: bytes for teacher outputs that are used again, see :class:`~tadshrink.compress.teacher.Teacher`.

    Raises:
        UserError: no loss is left, as there is no block that could be compared.
    """

    def __init__(self, student: Detector, teacher: Detector, settings: AlignSettings, first: int | None = None, memory: int = 0) -> None:
        self.student, self.settings, self.first, self.task = student, settings, first, TASKS[type(student)]
        self.class_kd = self.task.class_kd.get(settings.cls_kd, settings.cls_kd)
        for index in student.blocks.indices:
            student.blocks[index].thrifty = settings.checkpointing == "mlp"
        self.shared = last_shared(student, teacher, first)
        self.weights = self._weights()
        self.teacher = Teacher(teacher, self._wanted(), memory)

    def _weights(self) -> dict[str, float]:
        """Weights of the losses that say something of this student."""
        settings = self.settings
        weights = {name: getattr(settings, f"{name}_weight") for name in (*FEATURES, "cls_kd", "reg_kd", "task")}
        found = {name: weight for name, weight in weights.items() if weight and self._says_something(name)}
        if not found:
            raise UserError("of the losses asked for none is left: no block that is trained can be compared with the teacher's",
                            fix="Give another loss a weight, such as --cls-kd-weight 1, or --lora-blocks all")
        self.idle = [name for name, weight in weights.items() if weight and name not in found]
        return found

    def _says_something(self, name: str) -> bool:
        return name == "task" or (bool(self._compared(FEATURES[name])) if name in FEATURES else name in self.task.distilled)

    def _compared(self, part: str) -> set[int]:
        """Blocks of the student whose tokens are compared: what comes out of them, or for "mids" what is between their halves."""
        left = self.student.blocks.left
        return {index for index in left if index >= (self.first or 0) and (part == "outputs" or len(left[index]) == 2)}

    def _wants(self, *names: str) -> bool:
        return any(name in self.weights for name in names)

    def _wanted(self) -> Wanted:
        compared = self._compared("outputs") if self._wants("feature", "relation") else set()
        return Wanted(outputs=frozenset(compared if self.shared is None else compared | {self.shared}),
                      mids=self._wants("mid", "mid_relation"), head=self._wants("cls_kd", "reg_kd"))

    def described(self) -> str:
        """How much is trained, and what teacher and student share, in words."""
        parameters = list(self.student.parameters())
        trained = sum(value.numel() for value in parameters if value.requires_grad)
        said = f"{trained:,} of {sum(value.numel() for value in parameters):,} parameters are trained"
        if self.idle:
            said += f"; left out, as there is nothing to compare: {', '.join(f'{name}_weight' for name in self.idle)}"
        if self.class_kd != self.settings.cls_kd and "cls_kd" in self.weights:
            said += f"; classes are distilled by {self.class_kd}, as the model gives them by one softmax"
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
        content = self.student.body.content(self.student, lesson.masks)
        task = self.task.losses(self.student, output, batch.segments, batch.labels, True)

        def features(name: str, kind: str) -> Tensor:
            ours, theirs = (getattr(side, FEATURES[name]) for side in (trace, answer.trace))
            return feature_loss(ours, theirs, kind, shared=len(self.student.blocks.indices) - len(trace.outputs), content=content)

        losses: dict[str, Callable[[], Tensor]] = {
            "feature": lambda: features("feature", "mse"),
            "mid": lambda: features("mid", "mse"),
            "relation": lambda: features("relation", "relation"),
            "mid_relation": lambda: features("mid_relation", "relation"),
            "cls_kd": lambda: class_kd(output.logits(), answer.logits, output.valid(), settings.temperature, self.class_kd,
                                       task.targets.classes),
            "reg_kd": lambda: boundary_kd(output.segments(), answer.segments, task.targets.positive, settings.reg_kd),
            "cls": lambda: task.cls,
            "reg": lambda: task.reg,
        }
        weights = self.weights | dict.fromkeys(self.task.parts, self.weights.get("task", 0.0))
        return {name: weights[name] * loss() for name, loss in losses.items() if weights.get(name)}

    def _run(self, lesson: Lesson) -> tuple[Trace, DetectorOutput]:
        """The student on a batch, and the trace of the blocks that are trained."""
        student, trace = self.student, Trace()
        tokens = self._start(lesson)
        student.train()
        tokens = run_traced(student, tokens, lesson.masks, trace, self.first or 0, mids=self._wants("mid", "mid_relation"),
                            checkpointing=self.settings.checkpointing == "blocks")
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
