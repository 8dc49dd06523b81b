"""Exponential moving average of the trainable parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Keeps ``average <- decay * average + (1 - decay) * parameter`` for every trainable parameter."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.average = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.average.values()), list(self._parameters.values()), 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the averages into the model."""
        for name, value in self._parameters.items():
            value.copy_(self.average[name])

    def state(self) -> dict[str, int | dict[str, Tensor]]:
        return {"updates": self.updates, "average": dict(self.average)}

    @torch.no_grad()
    def load(self, state: dict) -> None:
        self.updates = state["updates"]
        for name, value in self.average.items():
            value.copy_(state["average"][name])
