"""Settings as classes: each field once, with its default, its limits and the words that help shows. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Frozen, without unknown keys, and of numbers that are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def setting(default: Any, text: str, panel: str | None = None, **limits: Any) -> Any:
    """A field of settings.

    Args:
        text: help of the option; the default is added to it, unless that is ``None``.
        panel: heading under which help lists the option.
        limits: as for pydantic's ``Field``: ``gt``, ``ge``, ``lt``, ``le``.
    """
    return Field(default, description=text, json_schema_extra={"panel": panel} if panel else None, **limits)
