"""From options of the command line to the settings of a stage."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tadshrink.errors import UserError

Settings = TypeVar("Settings", bound=BaseModel)


def settings_from(kind: type[Settings], **given: object) -> Settings:
    """Settings of a kind: the defaults, and what was given (is not ``None``) on the command line.

    Raises:
        UserError: all values that the settings do not take, together.
    """
    try:
        return kind(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        problems = [f"--{'.'.join(map(str, item['loc'])).replace('_', '-')}: {item['msg']}" for item in error.errors()]
        raise UserError(f"bad settings: {'; '.join(problems)}", fix="Add --help to see what the command takes") from error
