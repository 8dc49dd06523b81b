"""Least squares from sums of products alone, so that no row has to be kept."""

from __future__ import annotations

import torch
from torch import Tensor

from tadshrink.training.parallel import total

#: Ridges that are tried, in mean squares of the inputs.
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class Moments:
    """Sums of products of inputs ``h`` (with a 1 at their end) and of what they should give, in float64."""

    def __init__(self, inputs: int, outputs: int, device: torch.device) -> None:
        self.gram = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64, device=device)
        self.cross = torch.zeros(inputs + 1, outputs, dtype=torch.float64, device=device)
        self.square = torch.zeros((), dtype=torch.float64, device=device)
        self.counted = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, inputs: Tensor, wanted: Tensor, windows: int = 0) -> None:
        """Rows ``[n, inputs]`` and ``[n, outputs]``, of so many windows."""
        self.counted += windows
        rows = torch.cat((inputs.float(), inputs.new_ones(len(inputs), 1, dtype=torch.float32)), dim=1)
        self.gram += rows.T @ rows
        self.cross += rows.T @ wanted.float()
        self.square += wanted.double().square().sum()

    def everyones(self) -> Moments:
        """The sums over all processes."""
        self.gram, self.cross, self.square, self.counted = map(total, (self.gram, self.cross, self.square, self.counted))
        return self

    @property
    def windows(self) -> int:
        return int(self.counted)

    @property
    def rows(self) -> float:
        return float(self.gram[-1, -1])

    def error(self, solution: Tensor) -> float:
        """Mean squared error of ``solution`` ``[inputs + 1, outputs]``."""
        squares = self.square - 2 * (solution * self.cross).sum() + (solution * (self.gram @ solution)).sum()
        return float(squares.clamp(min=0) / (self.rows * self.cross.shape[1]))

    def centred(self) -> tuple[Tensor, Tensor]:
        """Sums of products of inputs, and of inputs and outputs, less their means."""
        mean = self.gram[:-1, -1] / self.rows
        return (self.gram[:-1, :-1] - self.rows * torch.outer(mean, mean),
                self.cross[:-1] - torch.outer(mean, self.cross[-1]))

    def with_constant(self, weights: Tensor) -> Tensor:
        """``weights`` ``[inputs, outputs]`` with the best constant below them."""
        mean = self.gram[:-1, -1] / self.rows
        return torch.cat((weights, (self.cross[-1] / self.rows - mean @ weights)[None]))


def fit_linear(fitted: Moments, checked: Moments) -> Tensor:
    """Ridge regression, ``[inputs + 1, outputs]``, with the ridge that does best on ``checked``."""
    gram, cross = fitted.centred()
    scale = gram.diagonal().mean().clamp(min=1e-30)
    solutions = [fitted.with_constant(torch.linalg.solve(gram + ridge * scale * torch.eye(len(gram)).to(gram), cross)) for ridge in RIDGES]
    return min(solutions, key=checked.error)


def fit_factors(fitted: Moments, weight: Tensor) -> Tensor:
    """The same where every output of a layer with this weight ``[outputs, inputs]`` only gets more or less of itself, and a constant."""
    gram, cross = fitted.centred()
    variance = ((weight @ gram) * weight).sum(1)
    factors = (weight * cross.T).sum(1) / variance.clamp(min=1e-30 + 1e-6 * float(variance.mean()))
    return fitted.with_constant((factors[:, None] * weight).T)
