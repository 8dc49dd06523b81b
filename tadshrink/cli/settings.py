"""From the fields of settings classes to options of the command line, and from what was given there to settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tadshrink.cli import completion
from tadshrink.errors import UserError
from tadshrink.settings import problems_in

Kind = TypeVar("Kind", bound=BaseModel)


def takes(kind: type[BaseModel], name: str = "settings", exclude: Collection[str] = (),
          rename: Mapping[str, str] = MappingProxyType({})) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a settings class, but for those named.

    The command gets what was given, as a dict by field, in its argument ``name``; :func:`settings_from` makes settings of it.

    Args:
        rename: names of options that are not those of their fields.
    """
    fields = {field: info for field, info in kind.model_fields.items() if field not in exclude}
    flags = {field: rename.get(field, field) for field in fields}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapped(**arguments: Any) -> None:
            given = {field: arguments.pop(flag) for field, flag in flags.items()}
            command(**arguments, **{name: {field: value for field, value in given.items() if value is not None}})

        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
               for parameter in inspect.signature(command, eval_str=True).parameters.values() if parameter.name != name]
        added = [inspect.Parameter(flags[field], inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option(flags[field], info))
                 for field, info in fields.items()]
        signature = inspect.Signature([*own, *added])
        wrapped.__signature__ = signature  # type: ignore[attr-defined]
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
        del wrapped.__wrapped__  # Typer would look at the original.
        return wrapped

    return decorate


def option(name: str, info: FieldInfo) -> Any:
    """The annotated type of a typer option for a field; without it the value is ``None``. Limits are checked by the settings."""
    parts = [part for part in _parts(info.annotation) if part is not NoneType]
    flag = f"--{name.replace('_', '-')}"
    shown = "" if info.default is None else f" Default: {_written(info.default)}."
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    words: dict[str, Any] = {"help": f"{info.description}{shown}", "show_default": False, "rich_help_panel": extra.get("panel")}
    if parts == [bool]:
        return Annotated[bool | None, typer.Option(f"{flag}/--no-{flag[2:]}", **words)]
    if parts in ([int], [float]):
        return Annotated[parts[0] | None, typer.Option(flag, **words)]
    choices = [str(choice) for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    return Annotated[str | None, typer.Option(flag, metavar="|".join(choices) or None, autocompletion=completion.choices(choices), **words)]


def _parts(annotation: Any) -> list[Any]:
    return list(get_args(annotation)) if get_origin(annotation) in (UnionType, Union) else [annotation]


def _written(value: Any) -> str:
    """A default as it would be given on the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_from(kind: type[Kind], **given: object) -> Kind:
    """Settings of a kind: the defaults, and what was given (is not ``None``) on the command line.

    Raises:
        UserError: all values that the settings do not take, together.
    """
    try:
        return kind(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise UserError(f"bad settings: {'; '.join(problems_in(error, _flag))}", fix="Add --help to see what the command takes") from error


def _flag(place: tuple[int | str, ...]) -> str:
    """The option that an error is about; empty if it is about several together."""
    names = [part for part in place if isinstance(part, str)]
    return f"--{'.'.join(names).replace('_', '-')}" if names else ""
