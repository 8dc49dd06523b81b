from __future__ import annotations

import pytest

from tadshrink.cli.settings import settings_from
from tadshrink.compress.alignment import AlignSettings
from tadshrink.errors import UserError


def test_what_is_not_given_keeps_its_default() -> None:
    assert settings_from(AlignSettings, epochs=7, lr=None, rank=None) == AlignSettings(epochs=7)
    assert settings_from(AlignSettings, epochs=0).epochs == 0


def test_all_wrong_values_are_told_together_by_the_names_of_their_options() -> None:
    with pytest.raises(UserError, match=r"^bad settings: --lr: .*; --cls-kd: .*\. Add --help"):
        settings_from(AlignSettings, lr=-1.0, cls_kd="cosine")
