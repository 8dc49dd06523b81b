"""Settings of block selection. Imports nothing heavy, as help is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from tadshrink.settings import Settings, setting

PANEL = "Selection"
#: Name -> what it measures of the model without a unit, or of the unit.
METRICS = {
    "map": "accuracy without it: average mAP of a detector, top-1 of a recogniser",
    "loss": "loss without it",
    "mse": "squared error of the backbone's features without it",
    "cosine": "1 - cosine between its input and its output; one pass, no labels",
    "taylor": "sum of |weight x gradient| of the loss over its weights; one pass",
    "random": "a random number, as a control",
}
#: Those that need a forward pass for each candidate, so that there is something to stop early.
RACEABLE = ("map", "loss", "mse")
#: Those that compare with annotated actions.
NEED_ACTIONS = ("map", "loss", "taylor")
Metric = Literal["map", "loss", "mse", "cosine", "taylor", "random"]


class SelectSettings(Settings):
    """How units are judged, wherever that is done."""

    metric: Metric = setting("map", f"What units are ranked by: {'; '.join(f'{name} ({text})' for name, text in METRICS.items())}.", PANEL)
    race: bool = setting(False, "Stop judging a candidate after a part of the videos when it can hardly win any more.", PANEL)
    batch_size: int = setting(8, "Windows per batch.", PANEL, gt=0)
    seed: int = setting(0, "Seed of the order of videos in a race, and of random scores.", PANEL, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _has_something_to_stop(self) -> SelectSettings:
        if self.race and self.metric not in RACEABLE:
            raise ValueError(f"there is nothing to race for: {self.metric} takes one pass for all candidates together")
        return self


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(METRICS) if value == "all" else tuple(name.strip() for name in value.split(","))


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("names a metric twice")
    return names


class SelectOptions(SelectSettings):
    """A whole selection."""

    unit: Literal["block", "attention", "mlp"] = setting("block", "What is dropped: blocks, or one half of them.", PANEL)
    span: int = setting(1, "Judge runs of so many neighbouring units, which are dropped together.", PANEL, gt=0)
    top: int = setting(1, "With --race: how many winners are looked for.", PANEL, gt=0)
    compare: Annotated[tuple[Metric, ...], BeforeValidator(_names), AfterValidator(_distinct)] = setting(
        (), "Rank by these metrics too, or by all, and tell how far the rankings agree (Kendall's tau).", PANEL)
