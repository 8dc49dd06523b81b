"""What the user says about a checkpoint that its tensors cannot: ``--set KEY=VALUE``, a YAML file, keyword arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from tadshrink.checkpoint.foreign.presets import PRESETS
from tadshrink.checkpoint.wording import printable
from tadshrink.errors import UserError
from tadshrink.files import read_text
from tadshrink.models.config import PostprocessConfig
from tadshrink.settings import Positive, Rate, problems_in
from tadshrink.yaml_files import parse_yaml, read_yaml

#: More blocks, layers or levels than any of the code bases have; keeps a damaged number from building a giant.
MOST_LAYERS = 256


def _as_list(value: Any) -> Any:
    """``4`` and ``4,9`` are lists too."""
    if isinstance(value, str) and value.strip():
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


class _Base(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: Every field of :class:`PostprocessConfig` under its own name, with None for "not given".
_Postprocess = create_model(  # type: ignore[call-overload]
    "_Postprocess", __base__=_Base,
    **{name: (Annotated[field.annotation, Field(), *field.metadata] | None, None) for name, field in PostprocessConfig.model_fields.items()}
)

_Count = Annotated[int, Field(ge=1, le=10**6)]
_Index = Annotated[int, Field(ge=0, lt=MOST_LAYERS)]


class LoadSettings(_Postprocess):
    """How to read a checkpoint; None leaves a setting to the preset, the tensors and the defaults, in this order."""

    #: Which dictionary of a file that has both; EMA by default.
    weights: Literal["ema", "raw"] | None = None
    #: A name in :data:`tadshrink.checkpoint.foreign.presets.PRESETS`.
    preset: str | None = None
    #: Attention heads of the ViT, and of ActionFormer (its ``n_head``).
    heads: _Count | None = None
    head_heads: _Count | None = None
    #: Blocks before any was dropped, and the original numbers of the dropped ones in the order of dropping.
    depth: Annotated[int, Field(ge=1, le=MOST_LAYERS)] | None = None
    dropped: Annotated[tuple[_Index, ...], BeforeValidator(_as_list)] | None = None
    #: Grid cells per window (the references' ``max_seq_len``).
    window: _Count | None = None
    #: The references' ``n_mha_win_size``: local attention if more than 1, else global.
    attention_window: int | None = None
    #: The references' ``use_abs_pe``.
    absolute_position: bool | None = None
    frame_size: _Count | None = None
    #: Frames that the ViT sees at once.
    clip_frames: _Count | None = None
    frames_per_cell: _Count | None = None
    snippet_stride: _Count | None = None
    offset_frames: float | None = None
    overlap: Rate | None = None
    mode: Literal["sliding", "resize", "whole"] | None = None
    #: Label names in the order of the head's outputs, or a text file with one per line.
    classes: tuple[str, ...] | str | None = None
    regression_ranges: tuple[tuple[float, float], ...] | None = None
    label_smoothing: float | None = None
    regression_weight: float | None = None
    loss_normalizer: Positive | None = None
    #: Share of the input channels that training drops.
    input_dropout: Rate | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: object = None) -> LoadSettings:
        """Validate plain data.

        Raises:
            UserError: unknown names or bad values, all in one line.
        """
        return _checked(data, [], where)

    def given(self) -> dict[str, Any]:
        """Only what was given."""
        return self.model_dump(exclude_none=True)

    def over(self, other: LoadSettings) -> LoadSettings:
        """Both together; what is given here counts."""
        return type(self)(**{**other.given(), **self.given()})


#: Where in a :class:`~tadshrink.models.config.DetectorConfig` a setting goes: section and field.
FIELDS: dict[str, tuple[str, str]] = {
    "heads": ("backbone", "heads"), "clip_frames": ("backbone", "chunk_frames"), "head_heads": ("head", "heads"),
    **{name: ("head", name) for name in ("attention_window", "absolute_position", "regression_ranges", "label_smoothing",
                                         "regression_weight", "loss_normalizer", "input_dropout")},
    **{name: ("sampling", name) for name in ("mode", "window", "frames_per_cell", "snippet_stride", "offset_frames", "frame_size", "overlap")},
    **{name: ("postprocess", name) for name in PostprocessConfig.model_fields},
}  # fmt: skip
#: Settings that mean nothing where features come from outside.
VIDEO_ONLY = ("heads", "clip_frames", "frame_size", "frames_per_cell")

#: Nothing given.
AS_IS = LoadSettings()


def parse_sets(pairs: Iterable[str], where: object = "--set") -> LoadSettings:
    """Settings from ``KEY=VALUE`` texts; a value is YAML: ``4``, ``true``, ``[4, 9]``, or ``4,9`` where a list is meant.

    Raises:
        UserError: a text without "=", a name given twice, unknown names and bad values, all in one line.
    """
    data: dict[str, Any] = {}
    problems: list[str] = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key or not text.strip():
            problems.append(f"{printable(pair)} is not KEY=VALUE")
        elif key in data:
            problems.append(f"{printable(key)} is given twice")
        else:
            data[key] = _value(key, text.strip(), problems)
    return _checked(data, problems, where)


def read_settings_yaml(path: str | Path) -> LoadSettings:
    """Settings from a YAML file; a file of class names is looked for beside it.

    Raises:
        UserError: it cannot be read, is not a mapping, and all problems of :meth:`LoadSettings.parse`.
    """
    data = read_yaml(path)
    if data is None:
        return AS_IS
    if not isinstance(data, dict):
        raise UserError("not a list of KEY: VALUE lines", where=path, fix="Write one setting per line, such as heads: 6")
    settings = LoadSettings.parse({str(key): value for key, value in data.items()}, path)
    if isinstance(settings.classes, str):
        return settings.model_copy(update={"classes": str(Path(path).parent / settings.classes)})
    return settings


def class_names(value: tuple[str, ...] | str) -> tuple[str, ...]:
    """Label names from a setting: as listed, or one per line of a text file.

    Raises:
        UserError: the file cannot be read, or a name is missing or there twice.
    """
    where = value if isinstance(value, str) else "classes"
    lines = read_text(value).splitlines() if isinstance(value, str) else value
    names = tuple(name for name in (line.strip() for line in lines) if name)
    if not names or len(set(names)) != len(names):
        raise UserError("no class names" if not names else "a class name is there twice", where=where, fix="Give each name once, one per line")
    return names


def _checked(data: Mapping[str, Any], problems: list[str], where: object) -> LoadSettings:
    """The settings, or one error with ``problems`` and everything else that is wrong."""
    known = {key: value for key, value in data.items() if key in LoadSettings.model_fields}
    unknown = [key for key in data if key not in known]
    settings, problems = AS_IS, problems + [_unknown(key, LoadSettings.model_fields, "setting") for key in unknown]
    if isinstance(name := known.get("preset"), str) and name not in PRESETS:
        problems.append(_unknown(name, PRESETS, "preset"))
    try:
        settings = LoadSettings.model_validate(known)
    except ValidationError as error:
        problems += problems_in(error)
    if problems:
        fix = "Write each as in: heads=6"
        if unknown:
            fix = f"Known settings: {', '.join(LoadSettings.model_fields)}"
        elif settings.preset not in {None, *PRESETS}:
            fix = f"Known presets: {', '.join(PRESETS)}"
        raise UserError(f"bad settings: {'; '.join(problems)}", where=where, fix=fix)
    return settings


def _value(key: str, text: str, problems: list[str]) -> Any:
    try:
        value = parse_yaml(text, key)
    except UserError:
        value = None
    if value is None:
        problems.append(f"{key}: {printable(text)} is not a value")
    if key == "classes" and isinstance(value, str) and "," in value:
        return [name.strip() for name in value.split(",")]
    return value


def _unknown(name: str, known: Iterable[str], noun: str) -> str:
    close = get_close_matches(name, known, n=1)
    return f"no {noun} is called {printable(name)}" + (f" (did you mean {close[0]}?)" if close else "")
