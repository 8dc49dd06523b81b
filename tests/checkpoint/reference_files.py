"""Small files as OpenTAD, Progressive Block Drop, ActionFormer and VideoMAE write them, from random detectors.

The names are spelled out here once more, apart from the tables that are tested.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector

State = dict[str, Tensor]
VIT = "backbone.model.backbone."
_HEAD = HeadConfig(width=8, levels=3, regression_ranges=((0, 4), (4, 8), (8, 10000)))
_CLASSES = ("run", "jump", "throw")

#: What the tiny video detectors need to be told.
TOLD = LoadSettings(heads=2, window=16, frames_per_cell=2, frame_size=32, classes=_CLASSES)


def shared_golden() -> Path | None:
    """The folder of checkpoints that the reference programs wrote, if it is there."""
    root = Path(os.environ.get("TADSHRINK_SHARED", Path(__file__).parents[3] / "shared"))
    folder = root / "reference" / "golden"
    return folder if folder.is_dir() else None


def video_config(**backbone: Any) -> DetectorConfig:
    """A detector with a ViT of 4 blocks; ``adapters=(0, 2)`` gives it adapters."""
    extra = {"adapter_width": 4} if backbone.get("adapters") else {}
    vit = BackboneConfig(**{"width": 16, "depth": 4, "heads": 2, "table_size": 32, **extra, **backbone})
    return DetectorConfig(classes=_CLASSES, backbone=vit, head=_HEAD, sampling=SamplingConfig(frame_size=vit.table_size))


def feature_config(variant: str = "opentad", **head: Any) -> DetectorConfig:
    """A detector on features of 6 channels."""
    settings = _HEAD.model_dump() | {"variant": variant, "attention_window": 5} | head
    return DetectorConfig(classes=_CLASSES, backbone=FeatureConfig(channels=6), head=HeadConfig(**settings))


def weights(config: DetectorConfig, dropped: Iterable[int] = (), seed: int = 0) -> State:
    """Random numbers under the names of a detector."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Detector(config, dropped).state_dict().items()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def add_lora(state: State, rank: int, feed_forward: int = 0, seed: int = 9) -> State:
    """With the updates of the fork; with a rank for the feed-forward layers, these are wrapped as its FFN variants do."""
    generator = torch.Generator().manual_seed(seed)
    layers = {"attn.qkv": ("attn.lora_qkv", rank), "attn.proj": ("attn.lora_proj", rank)}
    if feed_forward:
        layers |= {layer: (f"{layer}.lora", feed_forward) for layer in ("mlp.layers.0.0", "mlp.layers.1")}
        state = {re.sub(r"(mlp\.layers\.(0\.0|1))\.(weight|bias)", r"\1.linear.\3", name): value for name, value in state.items()}
    made = dict(state)
    for block in {match[0] for name in state if (match := re.match(rf"{re.escape(VIT)}blocks\.\d+\.", name))}:
        for layer, (update, size) in layers.items():
            own = state[f"{block}{layer}.weight"] if f"{block}{layer}.weight" in state else state[f"{block}{layer}.linear.weight"]
            made[f"{block}{update}.A"] = torch.randn(own.shape[1], size, generator=generator)
            made[f"{block}{update}.B"] = torch.randn(size, own.shape[0], generator=generator)
    return made


def as_actionformer(state: State) -> State:
    """Under the names and in the shapes of the original ActionFormer."""
    rules = [
        (r"projection\.embed\.(\d+)\.conv\.", r"backbone.embd.\1.conv."), (r"projection\.embed\.(\d+)\.norm\.", r"backbone.embd_norm.\1."),
        (r"projection\.(stem|branch)\.", r"backbone.\1."), (r"rpn_head\.cls_convs\.(\d+)\.conv\.", r"cls_head.head.\1.conv."),
        (r"rpn_head\.cls_convs\.(\d+)\.norm\.", r"cls_head.norm.\1."), (r"rpn_head\.reg_convs\.(\d+)\.conv\.", r"reg_head.head.\1.conv."),
        (r"rpn_head\.reg_convs\.(\d+)\.norm\.", r"reg_head.norm.\1."), (r"rpn_head\.cls_head\.", "cls_head.cls_head.conv."),
        (r"rpn_head\.reg_head\.", "reg_head.offset_head.conv."), (r"rpn_head\.scale\.", "reg_head.scale."),
    ]  # fmt: skip
    made = {}
    for name, value in state.items():
        if name == "rpn_head.loss_normalizer":
            continue
        is_norm = re.search(r"\.ln[12]\.|norm", name)
        for pattern, replacement in rules:
            name, count = re.subn(rf"^{pattern}", replacement, name)
            if count:
                break
        made[name] = value.reshape(1, -1, 1) if is_norm else value
    return made


def prefixed(state: State) -> State:
    return OrderedDict((f"module.{name}", value) for name, value in state.items())


def averaged(state: State) -> State:
    """Other values, and the normaliser truncated to an integer as the code bases' EMA does."""
    return {name: torch.tensor(134) if name.endswith("loss_normalizer") else value + 0.25 for name, value in state.items()}


def write(path: Path, raw: State | None, ema: State | None, **more: Any) -> Path:
    """A checkpoint with the leftovers of training."""
    content: dict[str, Any] = {"epoch": 3} | ({"state_dict": raw} if raw is not None else {})
    content |= {"optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}}
    content |= {"scheduler": {"milestones": Counter([2, 4]), "_last_lr": [0.1]}}
    torch.save(content | ({"state_dict_ema": ema} if ema is not None else {}) | more, path)
    return path


def write_opentad(path: Path, state: State) -> Path:
    return write(path, prefixed(state), prefixed(averaged(state)))


def write_fork(path: Path, state: State) -> Path:
    return write(path, prefixed(state), averaged(state))


def write_actionformer(path: Path, state: State) -> Path:
    return write(path, prefixed(as_actionformer(state)), prefixed(as_actionformer(averaged(state))))


def write_videomae(path: Path, state: State, form: str) -> Path:
    """``state`` by names within the ViT; forms "pretrained", "finetuned" (MCG-NJU) and "mmaction"."""
    rules = {"patch_embed.projection": "patch_embed.proj", "mlp.layers.0.0": "mlp.fc1", "mlp.layers.1": "mlp.fc2"}
    kept = {name: value for name, value in state.items() if not name.startswith(("pos_embed", "fc_norm"))}
    theirs = {}
    for name, value in kept.items():
        for ours, other in rules.items():
            name = name.replace(ours, other)
        theirs[name] = value
    one, width = torch.ones(3), len(theirs["patch_embed.proj.bias"])
    if form == "mmaction":
        torch.save({"meta": {"epoch": 1}, "state_dict": {f"backbone.{name}": value for name, value in state.items()}
                    | {"cls_head.fc_cls.weight": one, "cls_head.fc_cls.bias": one}}, path)
    elif form == "finetuned":
        torch.save({"module": theirs | {"head.weight": one, "head.bias": one, "fc_norm.weight": torch.full((width,), 2.0),
                                        "fc_norm.bias": torch.zeros(width)}}, path)
    else:
        decoder = {f"decoder.{name}": value for name, value in theirs.items() if not name.startswith("patch_embed")}
        rest = {"mask_token": one, "encoder_to_decoder.weight": one, "encoder.norm.weight": one, "encoder.norm.bias": one}
        torch.save({"model": {f"encoder.{name}": value for name, value in theirs.items()} | decoder | rest,
                    "epoch": 1, "args": Namespace(model="pretrain_videomae_small_patch16_224", lr=0.1)}, path)
    return path
