"""Reading YAML that people write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tadshrink.errors import UserError
from tadshrink.files import read_text


def read_yaml(path: str | Path) -> Any:
    """What a YAML file says.

    Raises:
        UserError: it cannot be read, or is not valid YAML.
    """
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, where: object) -> Any:
    """What a text in YAML says; ``where`` names it in the message.

    Raises:
        UserError: it is not valid YAML.
    """
    # Help for commands that read none does not wait for it.
    import yaml

    try:
        return yaml.safe_load(text)
    # Dates that cannot be and integers with thousands of digits are ValueErrors, deep nesting is a RecursionError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"not valid YAML: {' '.join(str(error).split())[:200]}", where=where, fix="Repair the file") from error
