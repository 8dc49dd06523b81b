from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tadshrink.errors import UserError
from tadshrink.evaluation.candidates import Scored, scored
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.onnx_export.checking import Difference, check, compare
from tadshrink.onnx_export.precision import PRECISIONS

#: Two windows of four cells, two levels; the last cell of the second window is padding.
MASKS = torch.tensor([[True] * 4, [True] * 3 + [False]])


class Toy(torch.nn.Module):
    """Says the same about every window: a half of every score, no offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor, masks: Tensor) -> DetectorOutput:
        return SimpleNamespace(cls_logits=[torch.zeros(1, 4, 2), torch.zeros(1, 2, 2)], offsets=[torch.zeros(1, 4, 2), torch.zeros(1, 2, 2)],
                               masks=[masks, masks[:, ::2]], strides=[1, 2])  # type: ignore[return-value]


def difference(change: Callable[[Scored], Scored], precision: str = "fp32") -> Difference:
    """Between the toy, and a file that says what the toy says, changed."""
    def found(inputs: Tensor, masks: Tensor) -> Scored:
        return change(scored(toy(inputs, masks)))

    toy: Any = Toy()
    detector: Detector = toy
    return compare(detector, found, (torch.zeros(2, 1), MASKS), PRECISIONS[precision])  # type: ignore[arg-type]


def at(name: str, point: int, value: float) -> Callable[[Scored], Scored]:
    """Adds to what is said about one point of a window."""
    def change(said: Scored) -> Scored:
        tensor = getattr(said, name).clone()
        tensor[0, point, 0] += value
        return replace(said, **{name: tensor})
    return change


def test_what_says_the_same_is_inside() -> None:
    assert difference(lambda said: said) == Difference(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("change", "scores", "boundaries", "outside"), [
    # Of the eleven points that are not padding: one in each window, of the first level, and of the second in strides of two cells.
    (at("scores", 0, 0.25), 0.25, 0.0, 2 / 11), (at("segments", 0, 0.5), 0.0, 0.5, 2 / 11), (at("segments", 4, 0.5), 0.0, 0.25, 2 / 11),
    # The fourth point is padding in the second window.
    (at("scores", 3, -0.25), 0.25, 0.0, 1 / 11),
])
def test_the_largest_difference_and_the_share_of_points(change: Callable[[Scored], Scored], scores: float, boundaries: float,
                                                        outside: float) -> None:
    found = difference(change)
    assert (found.scores, found.boundaries, found.outside) == pytest.approx((scores, boundaries, outside))


@pytest.mark.parametrize("name", ["scores", "segments"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_is_not_a_number_is_outside(name: str, precision: str) -> None:
    found = difference(at(name, 0, torch.nan), precision)
    assert found.outside == pytest.approx(2 / 11)
    with pytest.raises(UserError, match="outputs are not those of the model"):
        check(found, PRECISIONS[precision], Path("a.onnx"))


def test_other_padding_is_outside() -> None:
    assert difference(lambda said: replace(said, valid=~said.valid)).outside == 1


@pytest.mark.parametrize(("precision", "scores", "inside"), [
    ("fp32", 9e-5, True), ("fp32", 2e-4, False), ("fp16", 0.019, True), ("fp16", 0.021, False), ("int8", 0.09, True), ("int8", 0.11, False)])
def test_each_number_format_has_its_limits(precision: str, scores: float, inside: bool) -> None:
    found = difference(at("scores", 0, scores), precision)
    assert (found.outside == 0) is inside


@pytest.mark.parametrize(("precision", "outside", "passes"), [
    ("fp32", 0.0, True), ("fp32", 1e-4, False), ("fp16", 9e-4, True), ("fp16", 2e-3, False), ("int8", 9e-3, True), ("int8", 0.02, False)])
def test_each_number_format_has_its_share_of_points(precision: str, outside: float, passes: bool) -> None:
    found = Difference(1.0, 1.0, outside)
    if passes:
        return check(found, PRECISIONS[precision], Path("a.onnx"))
    with pytest.raises(UserError, match=r"a\.onnx: .* % of the points outside; limits for "):
        check(found, PRECISIONS[precision], Path("a.onnx"))
