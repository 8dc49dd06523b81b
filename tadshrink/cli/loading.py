"""The options of every command that reads a checkpoint: what to take from the file, and what the file cannot tell."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadshrink.cli import completion
from tadshrink.errors import UserError

if TYPE_CHECKING:
    from tadshrink.checkpoint.foreign.settings import LoadSettings

#: Arguments of commands that are checkpoints, where they are paths.
_CHECKPOINTS = ("checkpoint", "teacher")
_PANEL = "Checkpoints of other code bases"
#: name -> (type, help), for Typer.
_OPTIONS: dict[str, Any] = {
    "weights": Annotated[str | None, typer.Option("--weights", metavar="ema|raw", help="Which weights, where a file has both. Default: EMA.",
                                                  show_default=False, rich_help_panel=_PANEL)],
    "preset": Annotated[str | None, typer.Option("--preset", metavar="P", help="What the file's tensors cannot tell, by name, such as "
                                                 "adatad-thumos-videomae-s.", show_default=False, rich_help_panel=_PANEL)],
    "config": Annotated[Path | None, typer.Option("--config", metavar="YAML", help="Settings as for --set, from a file of KEY: VALUE lines.",
                                                  show_default=False, rich_help_panel=_PANEL, autocompletion=completion.yamls)],
    "set_": Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One such setting, stronger than the file and the "
                                                     "preset; repeat it for more. Keys: heads, window, ... (an unknown one lists them all).",
                                                     show_default=False, rich_help_panel=_PANEL)],
}  # fmt: skip


def reads_checkpoint(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; its checkpoints come as :class:`~tadshrink.checkpoint.opening.ModelFile` then."""

    @wraps(command)
    def wrapped(**arguments: Any) -> None:
        told = [arguments.pop(name) for name in _OPTIONS]
        files = {name: arguments[name] for name in _CHECKPOINTS if isinstance(arguments.get(name), Path)}
        if not files and not any(told):
            return command(**arguments)
        # Only now, since it imports torch.
        from tadshrink.checkpoint.opening import ModelFile

        settings = _settings(*told)
        if settings.given() and not files:
            raise UserError(f"{', '.join(settings.given())}: there is no checkpoint to read so", fix="Give a checkpoint")
        command(**arguments | {name: ModelFile(path, settings) for name, path in files.items()})

    own = inspect.signature(command, eval_str=True).parameters.values()
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in _OPTIONS.items()]
    signature = inspect.Signature([*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *added])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    del wrapped.__wrapped__  # Typer would look at the original.
    return wrapped


def _settings(weights: str | None, preset: str | None, config: Path | None, pairs: list[str] | None) -> LoadSettings:
    from tadshrink.checkpoint.foreign.settings import AS_IS, LoadSettings, parse_sets, read_settings_yaml

    named = {"weights": weights, "preset": preset}
    settings = LoadSettings.parse({key: value for key, value in named.items() if value is not None}, "options")
    return settings.over(parse_sets(pairs or [])).over(read_settings_yaml(config) if config else AS_IS)
