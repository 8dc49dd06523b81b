"""Data-parallel training: every process computes its share of each batch, and all of them take the same step.

A mean over a batch is a sum divided by a count over all of the batch. So each process divides its own sum by that count *per
process*; the mean of their results is then the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tadshrink.distributed import world


@torch.no_grad()
def total(value: Tensor) -> Tensor:
    """The sum over all processes, in every process; all must call this alike."""
    if world().size == 1:
        return value
    result = value.detach().clone()
    torch.distributed.all_reduce(result)
    return result


def divisor(count: Tensor) -> Tensor:
    """A count over all processes, at least 1, per process."""
    return total(count).clamp(min=1) / world().size


@torch.no_grad()
def average(parameters: Sequence[nn.Parameter], values: Tensor) -> Tensor:
    """Average the gradients over all processes, in place, and ``values`` ``[n]``, which are returned.

    One message for everything: what is trained is small.
    """
    if world().size == 1:
        return values
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    message = torch.cat([values.detach().float(), *(gradient.float().flatten() for gradient in gradients)])
    parts = (total(message) / world().size).split([len(values), *(gradient.numel() for gradient in gradients)])
    for gradient, part in zip(gradients, parts[1:], strict=True):
        gradient.copy_(part.view_as(gradient))
    return parts[0]
