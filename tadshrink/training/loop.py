"""The one training loop, used by ``train`` and by ``align``. It can be killed at any moment and goes on exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tadshrink.checkpoint.io import load_payload, save_payload
from tadshrink.data.loader import grouped
from tadshrink.device import Compute
from tadshrink.distributed import world
from tadshrink.errors import UserError
from tadshrink.reporting import SILENT, Reporter
from tadshrink.training.ema import Ema
from tadshrink.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from tadshrink.training.parallel import average
from tadshrink.training.settings import TrainSettings

KIND = "training-state"
#: Of float16 gradients: the first, which leaves out hardly any step, and the one at which they are too large for any.
FIRST_SCALE, LEAST_SCALE = 4096.0, 1.0


@dataclass(frozen=True)
class Task:
    """What is trained: a model, its data, and its losses by name (they are summed)."""

    model: nn.Module
    losses: Callable[[Any], dict[str, Tensor]]
    #: Batches of an epoch, by its number.
    batches: Callable[[int], Iterator[Any]]
    batches_per_epoch: int


@dataclass(frozen=True)
class Resume:
    """Where the state after each epoch is kept, and what the run depends on (a changed run starts anew)."""

    path: Path
    fingerprint: dict[str, Any]


def fit(task: Task, settings: TrainSettings, compute: Compute, resume: Resume | None = None, name: str = "train",
        reporter: Reporter = SILENT) -> list[dict[str, float]]:
    """Train ``task.model`` in place and leave the EMA weights in it.

    After every epoch the whole state is saved to ``resume.path``; a later call with the same fingerprint continues
    after the last finished epoch with the same result, bit for bit, as a run that was never interrupted.

    Returns:
        per epoch, the mean of each loss.

    Raises:
        UserError: the loss or its gradient is no longer finite, or the saved state cannot be read.
    """
    if settings.accumulate > task.batches_per_epoch:
        reporter.note(f"an epoch has {task.batches_per_epoch} batches: they make one step, of {settings.accumulate} asked for (--accumulate)")
    run = _Run(task, settings, compute)
    if resume:
        run.restore(resume, reporter)
    with reporter.track(name, settings.epochs * task.batches_per_epoch) as advance:
        advance(len(run.curve) * task.batches_per_epoch, "")
        for epoch in range(len(run.curve), settings.epochs):
            run.epoch(epoch, advance)
            if resume and world().rank == 0:
                save_payload(resume.path, KIND, run.state(resume.fingerprint))
    run.ema.apply()
    return run.curve


class _Run:
    """A training run under way, in this process (see :mod:`tadshrink.training.parallel`)."""

    def __init__(self, task: Task, settings: TrainSettings, compute: Compute) -> None:
        self.task, self.settings, self.compute = task, settings, compute
        self.optimizer = make_optimizer(task.model, settings)
        self.ema = Ema(task.model, settings.ema)
        self.parameters = [value for value in task.model.parameters() if value.requires_grad]
        self.steps_per_epoch = -(-task.batches_per_epoch // settings.accumulate)
        # Gradients in float16 are scaled up so that small ones do not vanish.
        self.scaler = torch.amp.GradScaler(compute.device.type, FIRST_SCALE, enabled=compute.dtype == torch.float16)
        self.curve: list[dict[str, float]] = []
        self.names: list[str] = []

    def epoch(self, epoch: int, advance: Callable[[int, str], None]) -> None:
        # Stochastic depth and dropout draw from torch's own generator; seeding it by epoch makes epochs repeatable.
        torch.manual_seed(self.settings.seed * 100_003 + epoch + 7919 * world().rank)
        steps = epoch * self.steps_per_epoch
        sums: dict[str, float] = {}
        count = 0
        for number, batches in enumerate(grouped(self.task.batches(epoch), self.settings.accumulate)):
            set_learning_rate(self.optimizer, learning_rate(steps + number, self.settings.epochs * self.steps_per_epoch, self.settings))
            for key, value in self._step(batches).items():
                sums[key] = sums.get(key, 0.0) + value
            count += len(batches)
            advance(len(batches), f"epoch {epoch + 1}/{self.settings.epochs}, loss {sum(sums.values()) / count:.3f}")
        self.curve.append({key: value / self.task.batches_per_epoch for key, value in sums.items()})

    def _step(self, batches: Sequence[Any]) -> dict[str, float]:
        """One step on the mean gradient of some batches; the sums of their losses, as means over all processes."""
        self.optimizer.zero_grad(set_to_none=True)
        values = torch.stack([self._backward(batch, len(batches)) for batch in batches]).sum(0)
        values = average(self.parameters, values)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        # Weights must never take up a gradient that is not finite, not even in the last step.
        if not torch.isfinite(values.sum()) or not (torch.isfinite(norm) or self._may_rescale()):
            raise UserError(f"the loss or its gradient is not finite any more after {len(self.curve)} epochs",
                            fix="Lower the learning rate (--lr)")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if torch.isfinite(norm):
            self.ema.update()
        return dict(zip(self.names, values.tolist(), strict=True))

    def _backward(self, batch: Any, count: int) -> Tensor:
        """Add to the gradients of the mean over ``count`` batches; the losses of this one."""
        with self.compute.autocast():
            losses = self.task.losses(batch)
        self.names = list(losses)
        values = torch.stack(list(losses.values()))
        self.scaler.scale(values.sum() / count).backward()
        return values.detach()

    def _may_rescale(self) -> bool:
        """Whether a gradient that is not finite may be due to its scale: the step is left out then, and the scale lowered."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > LEAST_SCALE

    def state(self, fingerprint: dict[str, Any]) -> dict[str, Any]:
        return {"fingerprint": fingerprint, "curve": self.curve, "model": self.task.model.state_dict(),
                "optimizer": self.optimizer.state_dict(), "ema": self.ema.state(), "scaler": self.scaler.state_dict()}

    def restore(self, resume: Resume, reporter: Reporter) -> None:
        if not resume.path.exists():
            return
        try:
            state = load_payload(resume.path, KIND)
        except UserError as error:
            raise UserError(error.what, where=error.where, fix="Delete this file to start anew") from error
        if state["fingerprint"] != resume.fingerprint:
            reporter.note(f"{resume.path} belongs to a run with other inputs or settings: starting anew")
            return
        self.task.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load(state["ema"])
        self.scaler.load_state_dict(state["scaler"])
        self.curve = state["curve"]
        reporter.note(f"going on after epoch {len(self.curve)} of {self.settings.epochs} ({resume.path})")
