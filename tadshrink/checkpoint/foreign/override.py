"""Settings on a tadshrink checkpoint: taken instead of what it says about itself, told, and recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tadshrink.checkpoint.foreign.presets import preset_named
from tadshrink.checkpoint.foreign.settings import FIELDS, VIDEO_ONLY, LoadSettings, class_names
from tadshrink.checkpoint.format import Checkpoint, record
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig
from tadshrink.models.detector import check_sizes
from tadshrink.reporting import Reporter

#: These say which weights there are, which the checkpoint itself states.
_FIXED = {"weights": "has one set of them", "depth": "states its blocks", "dropped": "states its dropped blocks (tadshrink drop adds to them)"}
#: These change what the weights compute, not only what goes in and what is made of the output.
_MEANING = ("heads", "head_heads", "attention_window", "absolute_position", "clip_frames")


def overridden(checkpoint: Checkpoint, settings: LoadSettings, where: object, reporter: Reporter) -> Checkpoint:
    """The checkpoint with these settings, and with a history entry that says so; itself if nothing is given.

    Raises:
        UserError: a setting that the checkpoint states itself, or that does not fit its weights.
    """
    given = settings.given()
    if not given:
        return checkpoint
    if fixed := [f"{name}: a tadshrink checkpoint {why}" for name, why in _FIXED.items() if name in given]:
        raise UserError("; ".join(fixed), where=where, fix="Leave these settings out")
    preset = preset_named(settings.preset).settings if settings.preset else {}
    wanted = {name: value for name, value in (preset | given).items() if name in FIELDS or name == "classes"}
    before = DetectorConfig.parse(checkpoint.architecture, where)
    after = _changed(before, wanted, where)
    for note in _notes(before, after, wanted, settings.preset):
        reporter.note(note)
    changed = replace(checkpoint, architecture=after.model_dump(mode="json"), classes=list(after.classes))
    return record(changed, "set", settings.model_dump(mode="json", exclude_none=True), {}, checkpoint.checksum)


def _changed(config: DetectorConfig, wanted: dict[str, Any], where: object) -> DetectorConfig:
    data = config.model_dump()
    for name, value in wanted.items():
        if name in FIELDS and not _unused(config, name):
            section, key = FIELDS[name]
            data[section][key] = max(value, 1) if name == "attention_window" else value
    if "classes" in wanted:
        data["classes"] = class_names(wanted["classes"])
    after = DetectorConfig.parse(data, where)
    if len(after.classes) != len(config.classes):
        raise UserError(f"{len(after.classes)} class names, but the head has {len(config.classes)} classes", where=where,
                        fix="Give one name per class")
    try:
        check_sizes(after)
    except UserError as error:
        raise UserError(error.what, where=where, fix="Give what fits with --set KEY=VALUE") from error
    return after


def _notes(before: DetectorConfig, after: DetectorConfig, wanted: dict[str, Any], preset: str | None) -> list[str]:
    changes = [name for name in wanted if not _unused(before, name) and _value(before, name) != _value(after, name)]
    notes = [f"changed by the settings given{f' and preset {preset}' if preset else ''}: "
             f"{', '.join(f'{name} {_value(before, name)} -> {_value(after, name)}' for name in changes) or 'nothing'}"]
    if unused := [name for name in wanted if _unused(before, name)]:
        notes.append(f"no effect on a detector on features: {', '.join(unused)}")
    if meaning := [name for name in changes if name in _MEANING]:
        notes.append(f"{', '.join(meaning)}: not what the weights were trained with, so that they compute something else")
    return notes


def _unused(config: DetectorConfig, name: str) -> bool:
    return isinstance(config.backbone, FeatureConfig) and name in VIDEO_ONLY


def _value(config: DetectorConfig, name: str) -> Any:
    section, key = FIELDS.get(name, ("", "classes"))
    return getattr(getattr(config, section), key) if section else f"{len(config.classes)} names ({', '.join(config.classes[:2])}, ...)"
