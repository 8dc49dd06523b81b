"""What the uncompressed model makes of each batch; for windows that come again it is computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from tadshrink.compress.trace import ENTRY, Trace, joined, run_traced
from tadshrink.data.loader import Batch
from tadshrink.models.detector import Detector


@dataclass(frozen=True)
class Wanted:
    """What of the teacher is needed: tokens after these blocks (:data:`ENTRY`: before the first), all tokens between attention and MLP,
    and what the head says."""

    outputs: frozenset[int]
    mids: bool
    head: bool


@dataclass(frozen=True)
class Answer:
    """What the teacher makes of a batch: tokens, and unless the head is not wanted logits ``[B, N, K]`` and segments ``[B, N, 2]``."""

    trace: Trace
    logits: Tensor | None = None
    segments: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        return [*self.trace.outputs.values(), *self.trace.mids.values(), *(part for part in (self.logits, self.segments) if part is not None)]

    def to(self, device: torch.device) -> Answer:
        moved = [{index: value.to(device) for index, value in part.items()} for part in (self.trace.outputs, self.trace.mids)]
        return Answer(Trace(*moved), *(part if part is None else part.to(device) for part in (self.logits, self.segments)))


@dataclass(frozen=True)
class Lesson:
    """A batch on the device, and what the teacher makes of it."""

    batch: Batch
    inputs: Tensor
    masks: Tensor
    answer: Answer


class Teacher:
    """Answers batches.

    Args:
        memory: bytes for answers by the content of the window. Then every window is answered on its own, whatever its batch, so
            that a kept answer is the same, bit for bit, as one computed again. 0: whole batches are answered, and nothing is kept.
    """

    def __init__(self, detector: Detector, wanted: Wanted, memory: int = 0) -> None:
        self.detector, self.wanted, self.memory = detector.eval().requires_grad_(False), wanted, memory
        self.device = next(detector.parameters()).device
        self.kept: dict[bytes, Answer] = {}
        self.used = self.computed = self.answered = 0

    @torch.no_grad()
    def lesson(self, batch: Batch) -> Lesson:
        """The batch with its answer; may run in another thread, ahead of the student."""
        inputs, masks = batch.inputs.to(self.device), batch.masks.to(self.device)
        if not self.memory:
            return Lesson(batch, inputs, masks, self._answer(inputs, masks))
        answers = [self._recalled(batch, number, inputs[number:number + 1], masks[number:number + 1]) for number in range(len(inputs))]
        return Lesson(batch, inputs, masks, _batched(answers))

    def _recalled(self, batch: Batch, number: int, inputs: Tensor, masks: Tensor) -> Answer:
        """The answer for one window of the batch, out of memory if it is there."""
        self.answered += 1
        key = hashlib.blake2b(batch.inputs[number].numpy(), digest_size=16)
        key.update(batch.masks[number].numpy())
        if found := self.kept.get(key.digest()):
            return found.to(self.device)
        self.computed += 1
        answer = self._answer(inputs, masks)
        size = sum(tensor.nbytes for tensor in answer.tensors())
        if self.used + size <= self.memory:
            self.used += size
            self.kept[key.digest()] = answer.to(torch.device("cpu"))
        return answer

    def _answer(self, inputs: Tensor, masks: Tensor) -> Answer:
        wanted, detector, trace = self.wanted, self.detector, Trace()
        if not (wanted.outputs or wanted.mids or wanted.head):
            return Answer(trace)
        tokens = trace.outputs[ENTRY] = detector.embed(inputs, masks)
        last = None if wanted.head or wanted.mids else max(wanted.outputs)
        tokens = run_traced(detector, tokens, masks, trace, last=last, mids=wanted.mids)
        trace.outputs = {index: value for index, value in trace.outputs.items() if index in wanted.outputs}
        if not wanted.head:
            return Answer(trace)
        output = detector.finish(detector.pool(tokens, masks), masks)
        return Answer(trace, output.logits(), output.segments())

    def account(self) -> str | None:
        """What was kept, in words; ``None`` where nothing was to be."""
        if not self.answered:
            return None
        room = "" if len(self.kept) == self.computed else f" of {self.memory / 1e9:g} GB, which is full (--teacher-memory)"
        return (f"teacher: {self.computed} of {self.answered} answers computed, the others were known; {len(self.kept)} windows in "
                f"{self.used / 1e9:.2f} GB{room}")


def _batched(answers: Collection[Answer]) -> Answer:
    heads = [[getattr(answer, item.name) for answer in answers] for item in fields(Answer)[1:]]
    return Answer(joined([answer.trace for answer in answers]), *(None if part[0] is None else torch.cat(part) for part in heads))
