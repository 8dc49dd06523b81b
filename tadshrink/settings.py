"""Settings as classes: each field once, with its default, its limits and the words that help shows. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: Numbers with limits; a rate is of what cannot all be left out, or overlap.
AnyCount = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """Frozen, without unknown keys, and of numbers that are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def problems_in(error: ValidationError, name: Callable[[tuple[int | str, ...]], str] = lambda place: ".".join(map(str, place))) -> list[str]:
    """All that pydantic found, each as ``key: message``, or as a message alone if it is about no single key.

    Args:
        name: writes the place of a value.
    """
    found = [(name(item["loc"]), item["msg"].removeprefix("Value error, ")) for item in error.errors()]
    return [f"{place}: {message}" if place else message for place, message in found]


def setting(default: Any, text: str, panel: str | None = None, **limits: Any) -> Any:
    """A field of settings.

    Args:
        text: help of the option; the default is added to it, unless that is ``None``.
        panel: heading under which help lists the option.
        limits: as for pydantic's ``Field``: ``gt``, ``ge``, ``lt``, ``le``.
    """
    return Field(default, description=text, json_schema_extra={"panel": panel} if panel else None, **limits)
