from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tadshrink.compress.teacher import Teacher, Wanted
from tadshrink.compress.trace import ENTRY
from tadshrink.data.loader import Batch, TrainingSet
from tadshrink.data.sources import open_source
from tadshrink.models.detector import Detector

ALL = Wanted(frozenset(range(4)), mids=True, head=True)


@pytest.fixture(scope="module")
def batches(tiny) -> list[Batch]:
    data = TrainingSet(tiny.data, "train", open_source(tiny.data, tiny.config.sampling))
    return [data.batch(indices, 0, 0, augmented=False) for indices in ([0, 1, 2], [2, 3, 0])]


@pytest.fixture
def detector(tiny) -> Detector:
    return tiny.opened().detector


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


def test_a_window_that_comes_again_is_not_computed_again(detector: Detector, batches: list[Batch]) -> None:
    teacher, forgetful = Teacher(detector, ALL, 1 << 30), Teacher(detector, ALL, 1)
    for batch in [*batches, *batches]:
        assert equal(teacher.lesson(batch).answer.tensors(), forgetful.lesson(batch).answer.tensors())
    assert (teacher.computed, teacher.answered, len(teacher.kept)) == (4, 12, 4)
    assert (forgetful.computed, forgetful.kept) == (12, {})
    assert teacher.account().startswith("teacher: 4 of 12 answers computed, the others were known; 4 windows in 0.00 GB")
    assert "--teacher-memory" not in teacher.account() and "which is full (--teacher-memory)" in forgetful.account()


def test_the_same_pixels_with_another_mask_are_another_window(detector: Detector, batches: list[Batch]) -> None:
    masks = batches[0].masks.clone()
    masks[:, masks.shape[1] // 2:] = False
    teacher = Teacher(detector, ALL, 1 << 30)
    first, other = (teacher.lesson(batch).answer for batch in (batches[0], replace(batches[0], masks=masks)))
    assert teacher.computed == 6
    assert not torch.equal(first.logits, other.logits)


def test_answers_are_those_for_the_whole_batch(detector: Detector, batches: list[Batch]) -> None:
    kept, plain = (Teacher(detector, ALL, memory).lesson(batches[0]).answer for memory in (1 << 30, 0))
    assert kept.trace.outputs.keys() == plain.trace.outputs.keys() == set(range(4))
    assert kept.trace.mids.keys() == plain.trace.mids.keys() == set(range(4))
    for ours, theirs in zip(kept.tensors(), plain.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    output = detector(batches[0].inputs, batches[0].masks)
    assert torch.equal(plain.logits, output.logits()) and torch.equal(plain.segments, output.segments())
    assert Teacher(detector, ALL).account() is None


def test_no_more_is_kept_than_there_is_memory_for(detector: Detector, batches: list[Batch]) -> None:
    size = sum(tensor.nbytes for tensor in Teacher(detector, ALL, 1 << 30).lesson(batches[0]).answer.tensors()) // 3
    teacher = Teacher(detector, ALL, 2 * size + size // 2)
    for batch in [*batches, *batches]:
        teacher.lesson(batch)
    assert (len(teacher.kept), teacher.used) == (2, 2 * size)


@pytest.mark.parametrize(("wanted", "ran"), [
    (Wanted(frozenset(), mids=False, head=False), []), (Wanted(frozenset({ENTRY}), mids=False, head=False), []),
    (Wanted(frozenset({1}), mids=False, head=False), [0, 1]), (Wanted(frozenset(), mids=False, head=True), [0, 1, 2, 3])])
def test_nothing_runs_that_is_not_wanted(detector: Detector, batches: list[Batch], wanted: Wanted, ran: list[int]) -> None:
    seen: list[int] = []
    for index in range(4):
        detector.blocks[index].register_forward_hook(lambda *rest, index=index: seen.append(index))
    answer = Teacher(detector, wanted).lesson(batches[0]).answer
    assert seen == ran
    assert answer.trace.outputs.keys() == wanted.outputs
    assert (answer.logits is None) == (not wanted.head)
