from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tadshrink.checkpoint.io import load_payload, save_payload
from tadshrink.data.loader import Batch, prefetch
from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.reporting import Advance, Reporter
from tadshrink.training import loop
from tadshrink.training.loop import KIND, Resume, Task, fit
from tadshrink.training.settings import TrainSettings

CPU = Compute(torch.device("cpu"), torch.float32, "a test")
SETTINGS = TrainSettings(epochs=4, lr=0.05, warmup=0.1, ema=0.9, weight_decay=0.01)
STEPS = 3


class Toy(nn.Module):
    """Random while it trains (dropout), and with a buffer that training changes, as the detector has."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        self.seen += len(values)
        return self.layers(values)


def batches(epoch: int) -> Iterator[Batch]:
    rng = np.random.default_rng([7, epoch])
    for _ in range(STEPS):
        yield Batch(torch.from_numpy(rng.normal(size=(5, 4)).astype(np.float32)), torch.ones(5, 1, dtype=torch.bool), [], [])


def toy_task(before_epoch: Callable[[int], None] = lambda epoch: None, spoil: Callable[[Tensor], Tensor] = lambda loss: loss) -> Task:
    """Learn the sum and the first of four numbers; ``before_epoch`` is called when an epoch asks for its batches."""
    torch.manual_seed(0)
    model = Toy()

    def losses(batch: Batch) -> dict[str, Tensor]:
        found = model.train()(batch.inputs)
        return {"sum": spoil((found[:, 0] - batch.inputs.sum(dim=1)).square().mean()),
                "first": (found[:, 1] - batch.inputs[:, 0]).square().mean()}

    def drawn(epoch: int) -> Iterator[Batch]:
        before_epoch(epoch)
        return prefetch(batches(epoch))

    return Task(model, losses, drawn, STEPS)


def stop_at(epoch: int) -> Callable[[int], None]:
    def stop(number: int) -> None:
        if number == epoch:
            raise KeyboardInterrupt

    return stop


def equal(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


class Log(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done: list[int] = []
        self.total = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        self.total = total
        yield lambda count, text: self.done.append(count)


def test_it_learns_and_reports() -> None:
    log, task = Log(), toy_task()
    curve = fit(task, SETTINGS.model_copy(update={"epochs": 40}), CPU, reporter=log)
    assert len(curve) == 40
    assert set(curve[0]) == {"sum", "first"}
    assert curve[-1]["sum"] < 0.5 * curve[0]["sum"]
    assert sum(log.done) == log.total == 40 * STEPS
    assert task.model.seen == 40 * STEPS * 5


def test_the_curve_holds_the_mean_of_each_loss() -> None:
    values = iter([1.0, 2.0, 6.0])
    parameter = nn.Linear(1, 1)
    task = Task(parameter, lambda batch: {"a": parameter.weight.sum() * 0 + next(values), "b": parameter.bias.sum() * 0 + 2}, batches, STEPS)
    assert fit(task, SETTINGS.model_copy(update={"epochs": 1}), CPU) == [{"a": 3.0, "b": 2.0}]


def test_one_step_by_hand() -> None:
    """Adam's first step is the learning rate; warm-up over one step; the average takes 0.9 of it."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    task = Task(layer, lambda batch: {"a": -3 * layer.weight.sum()}, lambda epoch: iter(list(batches(0))[:1]), 1)
    fit(task, TrainSettings(epochs=1, lr=0.1, warmup=0, weight_decay=0, ema=0.999), CPU)
    assert layer.weight.item() == pytest.approx(0.9 * 0.1, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gradients_are_clipped_together(dtype: torch.dtype) -> None:
    """In float16, too, by their own size, not by what they are scaled to."""
    norms = []
    layer = nn.Linear(3, 3)
    task = Task(layer, lambda batch: {"a": 3 * layer(torch.ones(3)).float().sum()}, batches, STEPS)
    original = torch.optim.AdamW.step

    def step(optimizer: torch.optim.AdamW, *rest: Any) -> Any:
        norms.append(torch.cat([value.grad.flatten() for value in layer.parameters()]).norm().item())
        return original(optimizer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        fit(task, SETTINGS.model_copy(update={"epochs": 1, "clip": 0.5}), replace(CPU, dtype=dtype))
    assert norms == pytest.approx([0.5] * STEPS, rel=1e-3)


def test_without_epochs_nothing_changes() -> None:
    task = toy_task()
    assert fit(task, SETTINGS.model_copy(update={"epochs": 0}), CPU) == []
    assert equal(task.model, toy_task().model)


def test_frozen_parameters_stay() -> None:
    task = toy_task()
    task.model.layers[0].requires_grad_(False)
    before = task.model.layers[0].weight.clone()
    fit(task, SETTINGS, CPU)
    assert torch.equal(task.model.layers[0].weight, before)


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_an_interrupted_run_goes_on_with_the_same_result(tmp_path: Path, epoch: int) -> None:
    whole = toy_task()
    curve = fit(whole, SETTINGS, CPU)
    resume = Resume(tmp_path / "state", {"lr": 0.05})
    with pytest.raises(KeyboardInterrupt):
        fit(toy_task(stop_at(epoch)), SETTINGS, CPU, resume)
    # What was drawn in between must not matter, nor the weights that the new process starts from.
    again, log = toy_task(), Log()
    if epoch:
        torch.nn.init.ones_(again.model.layers[0].weight)
    torch.rand(100)
    assert fit(again, SETTINGS, CPU, resume, reporter=log) == curve
    assert equal(again.model, whole.model)
    assert sum(log.done) == log.total
    assert log.notes == ([f"going on after epoch {epoch} of 4 ({resume.path})"] if epoch else [])


def test_interrupted_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    whole = toy_task()
    curve = fit(whole, SETTINGS, CPU)
    calls = iter(range(100))

    def spoil(loss: Tensor) -> Tensor:
        if next(calls) == 2 * STEPS + 1:
            raise KeyboardInterrupt
        return loss

    resume = Resume(tmp_path / "state", {})
    with pytest.raises(KeyboardInterrupt):
        fit(toy_task(spoil=spoil), SETTINGS, CPU, resume)
    again = toy_task()
    assert fit(again, SETTINGS, CPU, resume) == curve
    assert equal(again.model, whole.model)


def test_a_finished_run_gives_its_result_again(tmp_path: Path) -> None:
    resume = Resume(tmp_path / "state", {})
    first, again = toy_task(), toy_task(stop_at(0))
    assert fit(first, SETTINGS, CPU, resume) == fit(again, SETTINGS, CPU, resume)
    assert equal(first.model, again.model)


def test_other_inputs_start_anew_with_a_note(tmp_path: Path) -> None:
    whole = toy_task()
    fit(whole, SETTINGS, CPU)
    path = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        fit(toy_task(stop_at(2)), SETTINGS, CPU, Resume(path, {"lr": 1.0}))
    again, log = toy_task(), Log()
    fit(again, SETTINGS, CPU, Resume(path, {"lr": 2.0}), reporter=log)
    assert equal(again.model, whole.model)
    assert log.notes == [f"{path} belongs to a run with other inputs or settings: starting anew"]
    assert load_payload(path, KIND)["fingerprint"] == {"lr": 2.0}


@pytest.mark.parametrize("kind", [None, "checkpoint"])
def test_a_state_that_cannot_be_read(tmp_path: Path, kind: str | None) -> None:
    path = tmp_path / "state"
    if kind:
        save_payload(path, kind, {})
    else:
        path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match=r"state: .*Delete this file to start anew"):
        fit(toy_task(), SETTINGS, CPU, Resume(path, {}))


@pytest.mark.parametrize("spoil", [lambda loss: loss * float("nan"), lambda loss: loss + float("inf"),
                                   # A root's slope at 0: the loss is finite and its gradient is not.
                                   lambda loss: (loss * 0).sqrt()])
def test_a_loss_or_gradient_that_is_not_finite(spoil: Callable[[Tensor], Tensor]) -> None:
    task = toy_task(spoil=spoil)
    before = [value.clone() for value in task.model.parameters()]
    with pytest.raises(UserError, match=r"not finite any more after 0 epochs\. Lower the learning rate"):
        fit(task, SETTINGS, CPU)
    assert all(map(torch.equal, before, task.model.parameters()))


def test_an_error_while_reading_data_comes_through() -> None:
    def broken(epoch: int) -> Iterator[Batch]:
        yield from list(batches(epoch))[:2]
        raise UserError("no such video")

    with pytest.raises(UserError, match="no such video"):
        fit(replace(toy_task(), batches=lambda epoch: prefetch(broken(epoch))), SETTINGS, CPU)


def test_bfloat16_autocast_reaches_the_losses() -> None:
    layer, seen = nn.Linear(4, 1), []

    def losses(batch: Batch) -> dict[str, Tensor]:
        found = layer(batch.inputs)
        seen.append(found.dtype)
        return {"a": found.float().square().mean()}

    fit(Task(layer, losses, batches, STEPS), SETTINGS, replace(CPU, dtype=torch.bfloat16))
    assert set(seen) == {torch.bfloat16}
    assert layer.weight.dtype == torch.float32


def test_the_learning_rate_is_set_before_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(loop, "set_learning_rate", lambda optimizer, value: rates.append(value))
    fit(toy_task(), TrainSettings(epochs=2, lr=0.1, warmup=0.5), CPU)
    # 6 steps: three of warm-up, then the peak and down.
    assert rates == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.075, 0.025])


def test_accumulated_batches_make_one_step_on_their_mean_gradient() -> None:
    def trained(accumulate: int, joined: bool) -> nn.Module:
        torch.manual_seed(0)
        layer = nn.Linear(4, 1)

        def losses(batch: Batch) -> dict[str, Tensor]:
            return {"a": layer(batch.inputs).square().mean()}

        def drawn(epoch: int) -> Iterator[Batch]:
            parts = list(batches(epoch))
            yield from [Batch(torch.cat([part.inputs for part in parts]), torch.ones(1), [], [])] if joined else parts

        settings = SETTINGS.model_copy(update={"accumulate": accumulate, "epochs": 3})
        fit(Task(layer, losses, drawn, 1 if joined else STEPS), settings, CPU)
        return layer

    ours, theirs = trained(STEPS, joined=False), trained(1, joined=True)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)


def test_what_is_left_at_the_end_of_an_epoch_makes_a_step_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(loop, "set_learning_rate", lambda optimizer, value: rates.append(value))
    log = Log()
    curve = fit(toy_task(), TrainSettings(epochs=2, lr=0.1, warmup=0.5, accumulate=2), CPU, reporter=log)
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.05])
    assert sum(log.done) == log.total == 2 * STEPS
    assert len(curve) == 2


def test_the_step_on_what_is_left_takes_the_mean_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, seen = nn.Linear(1, 1), []
    original = torch.optim.AdamW.step

    def step(optimizer: torch.optim.AdamW, *rest: Any) -> Any:
        seen.append(layer.bias.grad.item())
        return original(optimizer, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    fit(Task(layer, lambda batch: {"a": layer.bias.sum()}, batches, STEPS), SETTINGS.model_copy(update={"accumulate": 2, "epochs": 1}), CPU)
    # Two batches and one, whose gradients are 1 each.
    assert seen == pytest.approx([1.0, 1.0], rel=1e-4)


def test_an_overflow_leaves_the_average_alone_and_its_scale_outlives_an_interruption(tmp_path: Path) -> None:
    half, updates, scales = replace(CPU, dtype=torch.float16), [], []

    def overflows() -> Callable[[Tensor], Tensor]:
        once = iter([True])
        return lambda loss: loss * 1e36 if next(once, False) else loss

    class Seen(loop._Run):
        def epoch(self, *given: Any) -> None:
            super().epoch(*given)
            updates.append(self.ema.updates)
            scales.append(self.scaler.get_scale())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_Run", Seen)
        resume = Resume(tmp_path / "state", {})
        with pytest.raises(KeyboardInterrupt):
            fit(toy_task(stop_at(2), overflows()), SETTINGS, half, resume)
        fit(toy_task(), SETTINGS, half, resume)
    # The first of three steps was left out.
    assert updates == [STEPS * epoch - 1 for epoch in (1, 2, 3, 4)]
    assert scales == [loop.FIRST_SCALE / 2] * 4


def test_float16_gradients_are_scaled_and_an_overflow_costs_a_step_and_no_more(tmp_path: Path) -> None:
    half = replace(CPU, dtype=torch.float16)
    once = iter([True])

    def spoil(loss: Tensor) -> Tensor:
        # Its gradient is past float16, and past float32 once it is scaled up.
        return loss * 1e36 if next(once, False) else loss

    spoilt, whole, plain = toy_task(spoil=spoil), toy_task(), toy_task()
    fit(spoilt, SETTINGS, half)
    fit(whole, SETTINGS, half)
    fit(plain, SETTINGS, CPU)
    assert all(bool(torch.isfinite(value).all()) for value in spoilt.model.parameters())
    torch.testing.assert_close(whole.model.layers[0].weight, plain.model.layers[0].weight, rtol=0, atol=0.2)
    torch.testing.assert_close(spoilt.model.layers[0].weight, plain.model.layers[0].weight, rtol=0, atol=0.4)
    resume = Resume(tmp_path / "state", {})
    with pytest.raises(KeyboardInterrupt):
        fit(toy_task(stop_at(2)), SETTINGS, half, resume)
    again, straight = toy_task(), toy_task()
    fit(again, SETTINGS, half, resume)
    fit(straight, SETTINGS, half)
    assert equal(again.model, straight.model)


def test_a_float16_loss_that_is_not_finite_ends_training() -> None:
    with pytest.raises(UserError, match="not finite any more"):
        fit(toy_task(spoil=lambda loss: loss * float("nan")), SETTINGS, replace(CPU, dtype=torch.float16))


def test_a_float16_gradient_that_no_scale_makes_finite_ends_training() -> None:
    with pytest.raises(UserError, match="not finite any more"):
        fit(toy_task(spoil=lambda loss: (loss * 0).sqrt()), SETTINGS.model_copy(update={"epochs": 20}), replace(CPU, dtype=torch.float16))
