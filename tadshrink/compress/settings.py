"""Settings of one alignment. Imports nothing heavy, as help is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from tadshrink.settings import setting
from tadshrink.training.settings import PANEL, TrainSettings

LOSSES, LORA, START, THRIFT = "Losses (a weight of 0 switches one off)", "What is trained", "Head start", "Speed and memory"


def _parts(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _chosen(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) != len(value):
        raise ValueError("name each layer once, and at least one")
    return value


Layers = Annotated[tuple[Literal["qkv", "proj", "fc1", "fc2"], ...], BeforeValidator(_parts), AfterValidator(_chosen)]


class AlignSettings(TrainSettings):
    """Training settings of one alignment (Progressive Block Drop, Cross-Depth Alignment), and what is specific to it."""

    epochs: int = setting(3, "Passes over the training split.", PANEL, ge=0)
    early_epochs: int | None = setting(None, "Passes after each of the first half of a run's drops. Default: --epochs.", PANEL, ge=0)
    subset: float = setting(
        1.0, "Share of the training windows that each epoch draws; in a run, after each of the first half of its drops only.", PANEL,
        gt=0, le=1)
    fixed_windows: bool | None = setting(None, "Give a video the same window whenever it is drawn. Default: without --augment.", PANEL)
    teacher: Literal["static", "previous"] = setting("static", "The uncompressed model, or the model before this drop.", PANEL)

    feature_weight: float = setting(1.0, "Squared error of the outputs of the surviving blocks.", LOSSES, ge=0)
    mid_weight: float = setting(0.0, "Squared error of the tokens after the attention of the surviving blocks.", LOSSES, ge=0)
    relation_weight: float = setting(0.0, "Error of the products between all output tokens of a sample.", LOSSES, ge=0)
    mid_relation_weight: float = setting(0.0, "The same of the tokens after the attention.", LOSSES, ge=0)
    cls_kd_weight: float = setting(1.0, "Distillation of class scores.", LOSSES, ge=0)
    reg_kd_weight: float = setting(1.0, "Distillation of boundaries, at positive points.", LOSSES, ge=0)
    task_weight: float = setting(1.0, "Detection losses against the annotations.", LOSSES, ge=0)
    cls_kd: Literal["binary", "softmax", "decoupled"] = setting(
        "binary", "Class scores one by one, by softmaxes over classes (as published), or true class and the others apart.", LOSSES)
    temperature: float = setting(3.5, "By which class scores are softened.", LOSSES, gt=0)
    reg_kd: Literal["diou", "giou"] = setting("diou", "How boundaries are compared.", LOSSES)

    heal: Literal["lora", "full", "none"] = setting("lora", "Low-rank updates, norms and head; all weights; or nothing (a control).", LORA)
    rank: int | None = setting(None, "Rank of the updates. Default: a quarter of the backbone's width.", LORA, gt=0)
    alpha: float | None = setting(None, "The updates count alpha / rank times. Default: the rank.", LORA, gt=0)
    lora_targets: Layers = setting(("qkv", "proj"), "Layers of a block that get updates: qkv, proj, fc1, fc2.", LORA)
    lora_init: Literal["gaussian", "published", "kaiming", "pissa", "olora", "orthogonal"] = setting(
        "gaussian", "How the updates start: as in peft, or published (wider by the square root of the rank).", LORA)
    dora: bool = setting(False, "Train the length of each output's weights apart from their direction (DoRA).", LORA)
    rslora: bool = setting(False, "The updates count alpha / sqrt(rank) times (rsLoRA).", LORA)
    lora_blocks: Literal["all", "after-cut"] = setting(
        "all", "after-cut: what comes before the first dropped block stays as it is, and teacher and student share it.", LORA)

    init: Literal["none", "rescale", "linear"] = setting(
        "none", "Fold a correction for the dropped blocks into the layer before each: one factor per channel, or a linear map.", START)
    init_windows: int = setting(256, "Training windows that it is fitted on.", START, gt=0)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting("auto", "Number format of matrix products.", THRIFT)
    checkpointing: Literal["none", "mlp", "blocks"] = setting(
        "none", "What is not kept for the backward pass, but computed again: the wide part of every MLP, or all between the blocks' outputs.",
        THRIFT)
    teacher_memory: float = setting(
        1.0, "GB, in each process, for teacher outputs; of windows that come again (--fixed-windows) they are kept.", THRIFT, ge=0)

    @model_validator(mode="after")
    def _has_a_loss(self) -> AlignSettings:
        if not any(value for name, value in self if name.endswith("_weight")):
            raise ValueError("all losses have the weight 0")
        return self

    @property
    def repeats(self) -> bool:
        """Whether a sample has the same window in every epoch."""
        return not self.augment if self.fixed_windows is None else self.fixed_windows

    @property
    def varies(self) -> bool:
        """Whether early drops are followed by less training than late ones."""
        return self.subset < 1 or self.early_epochs is not None

    @property
    def heals(self) -> bool:
        """False drops without alignment: the control that shows what alignment is worth."""
        return self.heal != "none" or self.init != "none"

    @property
    def after_pruning(self) -> AlignSettings:
        """Without a head start, which is for what a dropped block did."""
        return self.model_copy(update={"init": "none"})

    def for_drop(self, number: int, total: int) -> AlignSettings:
        """Settings after drop ``number`` (from 1) of ``total``: early ones may train shorter and on less, later ones train on all."""
        if number <= total // 2:
            return self.model_copy(update={"epochs": self.epochs if self.early_epochs is None else self.early_epochs})
        return self.model_copy(update={"subset": 1.0})
