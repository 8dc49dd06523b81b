"""Settings of a run, from recipe files and from the command line. Imports nothing heavy, as help is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationError

from tadshrink.compress.prune_settings import IMPORTANCE, Importance
from tadshrink.compress.select_settings import SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.errors import UserError
from tadshrink.settings import Settings, problems_in, setting
from tadshrink.yaml_files import read_yaml

PANEL = "Run"
#: Sections of a recipe; all keys of the first one are those of the run itself.
SECTIONS = ("run", "select", "align")
Recipe = dict[str, Any]
#: Fields of ``select`` whose options have another name, as alignment has those names, too.
RENAMED = {"batch_size": "select_batch_size"}


def _as_text(value: Any) -> Any:
    """A number of units is a number in YAML."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class RunSettings(Settings):
    """Everything that decides the result of a run, beside its inputs."""

    target: Annotated[str, BeforeValidator(_as_text)] = setting(
        "25%", "Share of the detector's MACs (25%), number of units (3) or latency (60ms).", PANEL)
    at_least: bool = setting(False, "Take a percentage as a floor, not as the number to come closest to.", PANEL)
    schedule: Literal["progressive", "one-shot", "span"] = setting(
        "progressive", "Drop and align one at a time; or rank once, drop all and align once, for as many epochs in all; or the same with the "
        "best run of neighbours.", PANEL)
    unit: Literal["block", "attention", "mlp"] = setting("block", "What is dropped: blocks, or one half of them.", PANEL)
    tolerance: float = setting(2.0, "Held-out average mAP, in points, that may be lost.", PANEL, ge=0)
    latency_runs: int = setting(20, "Timed runs of each model.", PANEL, ge=1)
    with_channel_pruning: str | None = setting(
        None, "After the last drop, prune heads and hidden units of the blocks that are left: a share of the uncompressed detector's MACs "
        "(10%), on top of the target. Healed like a drop.", PANEL)
    importance: Importance | None = setting(None, f"{IMPORTANCE[:-1]}. Default with channel pruning: magnitude.", PANEL)
    select: SelectSettings = SelectSettings()
    align: AlignSettings = AlignSettings()


def read_recipe(path: Path) -> Recipe:
    """A recipe file (YAML); which sections there may be, and what they may say, is checked by :func:`run_settings`.

    Raises:
        UserError: it cannot be read, or has no sections.
    """
    fix = f"Give sections {', '.join(SECTIONS)}, each with KEY: VALUE lines; see sample_configs/ beside the README"
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise UserError("not a recipe", where=path, fix=fix)
    return {str(name): {} if section is None else section for name, section in data.items()}


def run_settings(recipe: Recipe, where: object = None, given: Recipe | None = None) -> RunSettings:
    """Settings from a recipe, and what was given on the command line, which is stronger.

    Raises:
        UserError: all unknown keys and bad values together.
    """
    sections = {name: section for name, section in recipe.items() if name in SECTIONS and isinstance(section, dict)}
    merged = {name: {**sections.get(name, {}), **(given or {}).get(name, {})} for name in SECTIONS}
    problems = [f"{name}: not one of the sections {', '.join(SECTIONS)}, with lines KEY: VALUE" for name in recipe if name not in sections]
    problems += [f"{name}: a section of its own, not a key of 'run'" for name in ("select", "align") if name in merged["run"]]
    try:
        settings = RunSettings.model_validate(merged["run"] | {"select": merged["select"], "align": merged["align"]})
    except ValidationError as error:
        problems += problems_in(error, lambda place: _place(place, sections, given or {}))
    if problems:
        raise UserError(f"bad settings: {'; '.join(problems)}", where=where, fix="See --help, and sample_configs/ beside the README")
    return settings


def _place(place: tuple[int | str, ...], recipe: Recipe, given: Recipe) -> str:
    """A key as it was written: ``--option`` on the command line, ``section.key`` in a recipe."""
    section, *keys = map(str, place) if place and place[0] in SECTIONS else ("run", *map(str, place))
    if keys and keys[0] in given.get(section, {}):
        name = RENAMED.get(keys[0], keys[0]) if section == "select" else keys[0]
        return f"--{name.replace('_', '-')}"
    return ".".join([section, *keys])
