"""Metrics of selection that need one pass over the videos for all candidates together, or none."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tadshrink.compress.candidates import Key
from tadshrink.compress.judges import Bench, Found, Judge, MeanJudge, Tally, Windows, add_windows
from tadshrink.compress.lora import merged_copy
from tadshrink.compress.passes import walk, whole_output
from tadshrink.compress.tasks import TASKS
from tadshrink.models.body import unit_prefixes
from tadshrink.models.detector import Detector
from tadshrink.models.units import Unit, order


class CosineJudge(MeanJudge):
    """1 - cosine between what goes in and what comes out, mean over tokens ("Block Influence", Men et al. 2024); for a span, what
    goes into its first unit and what comes out of its last."""

    whole = False

    @torch.inference_mode()
    def group(self, batches: Iterable[Windows], candidates: Sequence[Key], beside: Executor) -> Future[Found]:
        books: dict[Key, dict[str, np.ndarray]] = {key: {} for key in candidates}
        for inputs, masks, windows in batches:
            inside: dict[Key, Tensor] = {}
            content = self.bench.detector.body.content(self.bench.detector, masks)
            with self.bench.compute.autocast():
                for unit, before, after in walk(self.bench.detector, inputs, masks, self.kind):
                    inside |= {key: before for key in candidates if key[0] == unit}
                    for key in [key for key in inside if key[-1] == unit]:
                        add_windows(books[key], windows, _distances(inside.pop(key), after, len(windows), content))
        return beside.submit(lambda: dict(books))


def _distances(before: Tensor, after: Tensor, batch: int, content: Tensor | None) -> list[float]:
    """Of each window, of its tokens that are no padding."""
    cosine = F.cosine_similarity(before.float(), after.float(), dim=-1).reshape(batch, -1)
    valid = torch.ones_like(cosine, dtype=torch.bool) if content is None else content
    return (((1 - cosine) * valid).sum(1) / valid.sum(1).clamp(min=1)).tolist()


class TaylorJudge(MeanJudge):
    """|weight x gradient| of the detection loss of a batch, summed over a candidate's weights (Molchanov et al. 2017)."""

    whole = False

    def __init__(self, bench: Bench, kind: str, seed: int) -> None:
        super().__init__(bench, kind, seed)
        # Low-rank updates are part of the weights.
        updated = any(".lora_" in name for name, _ in bench.detector.named_parameters())
        self.model = (merged_copy if updated else copy.deepcopy)(bench.detector).eval().requires_grad_(False)

    def group(self, batches: Iterable[Windows], candidates: Sequence[Key], beside: Executor) -> Future[Found]:
        weights = {unit: _weights(self.model, unit) for key in candidates for unit in key}
        chosen = [weight for group in weights.values() for weight in group]
        books: dict[Key, dict[str, np.ndarray]] = {key: {} for key in candidates}
        for inputs, masks, windows in batches:
            gradients = dict(zip(map(id, chosen), loss_gradients(self.bench, self.model, (inputs, masks, windows), chosen), strict=True))
            values = {unit: sum(float((weight.detach() * gradients[id(weight)]).abs().sum(dtype=torch.float64)) for weight in group)
                      for unit, group in weights.items()}
            for key, book in books.items():
                add_windows(book, windows, [sum(values[unit] for unit in key)] * len(windows))
        return beside.submit(lambda: dict(books))


def loss_gradients(bench: Bench, model: Detector, batch: Windows, chosen: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of the loss of a batch for some weights of a copy of the bench's detector, which has no other gradients."""
    inputs, masks, windows = batch
    for weight in chosen:
        weight.requires_grad_(True)
    with torch.enable_grad():
        with bench.compute.autocast():
            output = whole_output(model, inputs.clone(), masks.clone())
        loss = TASKS[type(model)].losses(model, output, *bench.targets(windows), False).total
        return torch.autograd.grad(loss, chosen)


def _weights(model: Detector, unit: Unit) -> list[torch.nn.Parameter]:
    prefixes = unit_prefixes(model.body, model.blocks.left, unit)
    return [value for name, value in model.named_parameters() if name.startswith(prefixes)]


class RandomJudge(Judge):
    """A number for each unit that depends on the seed and on nothing else."""

    whole = False
    looks = False

    def score(self, key: Key, tally: Tally) -> float:
        return float(np.random.default_rng([self.seed, *(number for unit in key for number in order(unit))]).random())
