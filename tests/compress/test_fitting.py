from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tadshrink.compress.fitting import Moments, fit_factors, fit_linear


def moments(inputs: Tensor, wanted: Tensor, parts: int = 3) -> Moments:
    made = Moments(inputs.shape[1], wanted.shape[1], torch.device("cpu"))
    for rows, targets in zip(inputs.chunk(parts), wanted.chunk(parts), strict=True):
        made.add(rows, targets)
    return made


@pytest.fixture
def rows() -> tuple[Tensor, Tensor]:
    """Inputs far from zero mean, and outputs that are linear in them but for some noise."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 5, generator=generator) + 3
    return inputs, inputs @ torch.randn(5, 2, generator=generator) - 7 + 0.01 * torch.randn(400, 2, generator=generator)


def test_the_error_is_the_mean_square_of_what_is_missing(rows: tuple[Tensor, Tensor]) -> None:
    inputs, wanted = rows
    solution = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    direct = (wanted - inputs @ solution[:-1].float() - solution[-1].float()).square().mean().item()
    assert moments(inputs, wanted).error(solution) == pytest.approx(direct, rel=1e-5)
    assert moments(inputs, wanted).error(torch.zeros(6, 2, dtype=torch.float64)) == pytest.approx(wanted.square().mean().item(), rel=1e-5)


def test_linear_finds_what_was_there(rows: tuple[Tensor, Tensor]) -> None:
    inputs, wanted = rows
    best = torch.linalg.lstsq(torch.cat((inputs, torch.ones(400, 1)), dim=1), wanted).solution
    found = fit_linear(moments(inputs[:300], wanted[:300]), moments(inputs[300:], wanted[300:]))
    torch.testing.assert_close(found.float(), best, rtol=0, atol=0.02)


def test_inputs_that_never_change_or_repeat_each_other_do_no_harm(rows: tuple[Tensor, Tensor]) -> None:
    inputs, wanted = rows
    doubled = torch.cat((inputs, inputs, torch.zeros(400, 3)), dim=1)
    found = fit_linear(moments(doubled[:300], wanted[:300]), moments(doubled[300:], wanted[300:]))
    assert torch.isfinite(found).all()
    assert moments(doubled, wanted).error(found) < 1e-3


def test_where_there_is_nothing_to_find_a_strong_ridge_is_taken() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, wanted = torch.randn(60, 40, generator=generator), torch.randn(60, 3, generator=generator)
    few, others = moments(inputs[:50], wanted[:50]), moments(inputs[50:], wanted[50:])
    plain = torch.linalg.lstsq(torch.cat((inputs[:50], torch.ones(50, 1)), dim=1), wanted[:50]).solution.double()
    assert others.error(fit_linear(few, others)) < 0.7 * others.error(plain)


def test_factors_make_each_output_of_a_layer_count_more_or_less() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, weight = torch.randn(200, 5, generator=generator) - 2, torch.randn(3, 5, generator=generator)
    factors, constants = torch.tensor([0.5, -1.0, 0.0]), torch.tensor([0.0, 1.0, 2.0])
    found = fit_factors(moments(inputs, inputs @ weight.T * factors + constants), weight.double())
    torch.testing.assert_close(found[:-1].float(), (factors[:, None] * weight).T, rtol=0, atol=1e-3)
    torch.testing.assert_close(found[-1].float(), constants, rtol=0, atol=1e-3)
