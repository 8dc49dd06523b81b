from __future__ import annotations

import pytest

from tadshrink.compress.select_settings import SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.models.units import left_of
from tadshrink.planning.counts import SplitSize
from tadshrink.planning.estimate import ROUGH, Estimate, Seconds
from tadshrink.planning.speeds import Judged, Loading, Quick, Speed, Trained
from tadshrink.run_settings import RunSettings
from tadshrink.schedules import Step

SIZES = {name: SplitSize(name, 5, 9, windows, 5) for name, windows in (("train", 41), ("heldout", 10), ("test", 20))}
JUDGED = Judged(1.0, 0.5, 8)
ALIGN = AlignSettings(epochs=2, batch_size=4)


def estimate(settings: RunSettings | None = None, room: int = 0, judged: Judged | None = JUDGED, cold: float = 0.0) -> Estimate:
    """Of a model of 4 blocks: 1 s per window, 0.1 s less for each block that is gone; detections likewise."""
    loading, trained = Loading(cold, cold / 2, 100.0, 8), Trained(1.0, 3.0, 50.0, 2, 4)
    quick = Quick(Speed(1.0, 0.8, 2, 3, counting=5.0), loading, loading, 1.0, judged, trained, 9.0)
    return Estimate(quick, SIZES, settings or RunSettings(latency_runs=7, align=ALIGN), left_of(4, []), room)


def exactly(seconds: float) -> Seconds:
    """Where nothing is loaded."""
    return Seconds(pytest.approx(seconds / ROUGH), pytest.approx(seconds * ROUGH))


def test_windows_times_seconds_less_what_is_gone() -> None:
    assert estimate().tested("test", 0) == exactly(20)
    assert estimate().tested("test", 2) == exactly(20 * 0.8)


def test_a_measured_model_is_timed_in_turn_with_the_baseline_and_counted() -> None:
    # 10 windows; 3 + 7 calls of both models; MACs.
    assert estimate().measured(0) == exactly(10 + 10 * 2 + 5)
    assert estimate().measured(1) == exactly(9 + 10 * 1.9 + 5)


def test_a_selection_grows_with_its_candidates() -> None:
    step = Step(1, 1, ALIGN)
    assert (estimate().candidates(step, 0), estimate().candidates(step, 1), estimate().candidates(Step(1, 2, ALIGN), 0)) == (4, 3, 3)
    assert estimate().selected(step, 0) == exactly(10 * (1 + 4 * 0.5))
    # A block less: the whole model saves it, a candidate half of it on average.
    assert estimate().selected(step, 1) == exactly(10 * (0.9 + 3 * 0.45))
    assert estimate(judged=None).selected(step, 0) == Seconds()


def test_a_race_may_end_early() -> None:
    settings = RunSettings(select=SelectSettings(race=True), align=ALIGN)
    found = estimate(settings).selected(Step(1, 1, ALIGN), 0)
    assert found.high == pytest.approx(30 * ROUGH)
    assert found.low == pytest.approx(10 * (1 + (4 / 8 + 2 * 7 / 8) * 0.5) / ROUGH)


def test_epochs_times_batches_and_a_teacher_beside() -> None:
    # 10 batches of 4; the student takes 3 s per window, and the teacher 1 s in another thread.
    assert estimate().batches(ALIGN) == 10
    found = estimate().aligned(ALIGN, 1)
    assert found == Seconds(pytest.approx(2 * 40 * 3 / ROUGH), pytest.approx(2 * 40 * 4 * ROUGH))
    # Half of 41 windows; no epoch at all.
    assert estimate().batches(ALIGN.model_copy(update={"subset": 0.5})) == 5
    assert estimate().aligned(ALIGN.model_copy(update={"epochs": 0}), 1) == Seconds()


def test_a_teacher_whose_answers_are_kept_answers_once() -> None:
    fixed = ALIGN.model_copy(update={"augment": False})
    assert estimate().aligned(fixed, 1).high == pytest.approx((2 * 40 * 3 + 40) * ROUGH)
    # 40 answers of 50 bytes do not fit.
    small = fixed.model_copy(update={"teacher_memory": 1.9e-6})
    assert estimate().aligned(small, 1).high == pytest.approx((2 * 40 * 3 + 80) * ROUGH)


def test_a_head_start_looks_at_its_windows_once_for_each_gap() -> None:
    align = ALIGN.model_copy(update={"epochs": 0, "init": "linear", "init_windows": 8})
    assert estimate().aligned(align, 3) == exactly(3 * 8 * 2)


@pytest.mark.parametrize(("room", "again"), [(0, (10 * 4, 10 * 4)), (1500, (10 * 2, 10 * 4)), (2000, (10 * 2, 10 * 2))])
def test_what_was_loaded_once_is_there_if_there_is_room(room: int, again: tuple[float, float]) -> None:
    # 10 windows of 100 bytes; 4 s to load one, 2 s once it is in memory; 1 s to look at it.
    made = estimate(room=room, cold=4.0)
    assert made.tested("heldout", 0) == Seconds(pytest.approx(40 / ROUGH), pytest.approx(50 * ROUGH))
    assert made.tested("heldout", 0) == Seconds(pytest.approx(again[0] / ROUGH), pytest.approx((10 + again[1]) * ROUGH))
