from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args

import pytest

from tadshrink.cli.align import RUN_ONLY
from tadshrink.cli.settings import settings_from, takes
from tadshrink.compress.settings import AlignSettings
from tadshrink.errors import UserError
from tadshrink.settings import Settings, setting


class Some(Settings):
    count: int | None = setting(None, "How many. Default: all.", gt=0)
    share: float = setting(0.5, "How much.", "Amounts")
    kind: Literal["a", "b"] = setting("a", "Which.")
    names: tuple[str, ...] = setting(("x", "y"), "Some.")
    quick_one: bool = setting(False, "Fast.")


def test_every_field_becomes_an_option_with_its_default_in_the_help() -> None:
    @takes(Some)
    def command(path: str, settings: dict[str, Any]) -> None: ...

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["path", "count", "share", "kind", "names", "quick_one"]
    assert all(parameters[name].default is None for name in Some.model_fields)
    kinds = {name: get_args(parameters[name].annotation) for name in Some.model_fields}
    assert {name: kind[0] for name, kind in kinds.items()} == {
        "count": int | None, "share": float | None, "kind": str | None, "names": str | None, "quick_one": bool | None}
    options = {name: kind[1] for name, kind in kinds.items()}
    assert options["count"].help == "How many. Default: all."
    assert (options["share"].help, options["share"].rich_help_panel) == ("How much. Default: 0.5.", "Amounts")
    assert (options["kind"].metavar, options["names"].help) == ("a|b", "Some. Default: x,y.")
    assert (options["quick_one"].default, options["quick_one"].help) == ("--quick-one/--no-quick-one", "Fast. Default: off.")


def test_a_command_gets_what_was_given_and_nothing_else() -> None:
    seen: list[Any] = []

    @takes(Some, exclude=("names",))
    @takes(AlignSettings, "for_align", exclude=set(AlignSettings.model_fields) - {"epochs"})
    def command(path: str, settings: dict[str, Any], for_align: dict[str, Any]) -> None:
        seen.append((path, settings, for_align))

    command(path="p", count=3, share=None, kind=None, quick_one=False, epochs=0)
    assert seen == [("p", {"count": 3, "quick_one": False}, {"epochs": 0})]


def test_align_offers_every_setting(tadshrink: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = tadshrink("align", "--help").out
    for name, info in AlignSettings.model_fields.items():
        assert (f"--{name.replace('_', '-')} " in said) or name in RUN_ONLY, name
        assert info.description, name


def test_what_is_not_given_keeps_its_default() -> None:
    assert settings_from(AlignSettings, epochs=7, lr=None, rank=None) == AlignSettings(epochs=7)
    assert settings_from(AlignSettings, epochs=0).epochs == 0


def test_all_wrong_values_are_told_together_by_the_names_of_their_options() -> None:
    with pytest.raises(UserError, match=r"^bad settings: --lr: .*; --cls-kd: .*\. Add --help"):
        settings_from(AlignSettings, lr=-1.0, cls_kd="cosine")


def test_an_error_about_several_values_names_none() -> None:
    with pytest.raises(UserError, match=r"^bad settings: all losses have the weight 0\. Add"):
        settings_from(AlignSettings, feature_weight=0, cls_kd_weight=0, reg_kd_weight=0, task_weight=0)
