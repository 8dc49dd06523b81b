from __future__ import annotations

import typing

from tadshrink.compress.settings import AlignSettings
from tadshrink.run_settings import RunSettings
from tadshrink.schedules import SCHEDULES

ALIGN = AlignSettings(epochs=6, early_epochs=2, subset=0.5)


def test_all_at_once_is_aligned_for_as_long_as_step_by_step() -> None:
    steps = SCHEDULES["progressive"](4, 4, ALIGN)
    assert [(step.count, step.span, step.align.epochs, step.align.subset) for step in steps] == [
        (1, 1, 2, 0.5), (1, 1, 2, 0.5), (1, 1, 6, 1.0), (1, 1, 6, 1.0)]
    (shot,), (span,) = SCHEDULES["one-shot"](4, 11, ALIGN), SCHEDULES["span"](4, 11, ALIGN)
    assert (shot.count, shot.span, span.count, span.span) == (4, 1, 1, 4)
    assert (shot.align.epochs, shot.align.subset) == (span.align.epochs, span.align.subset) == (16, 1.0)


def test_every_schedule_of_the_settings_is_there() -> None:
    assert set(typing.get_args(RunSettings.model_fields["schedule"].annotation)) == SCHEDULES.keys()
