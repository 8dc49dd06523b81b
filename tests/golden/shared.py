"""Cases out of the folder that the reference programs wrote; there are none where it is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import read_video_scores
from tests.checkpoint.reference_files import shared_golden
from tests.golden.cases import KINDS, Call, Case, Losses, Place

GOLDEN = shared_golden()
#: Where a file has each of :data:`~tests.golden.cases.KINDS`.
KEYS = {"ema": "state_dict_ema", "raw": "state_dict"}


def folder(name: str) -> Path:
    """Of one case."""
    assert GOLDEN is not None
    return GOLDEN / name


def read_json(name: str, file: str = "case.json") -> Any:
    return json.loads((folder(name) / file).read_text(encoding="utf-8"))


def weights(path: str, kind: str = "ema") -> dict[str, Tensor]:
    """Of a file, by names without a prefix."""
    content = torch.load(folder(path), weights_only=True)
    return {name.removeprefix("module."): value for name, value in content[KEYS[kind]].items()}


def families() -> dict[str, str]:
    """Name -> family of every case whose checkpoint is there."""
    found = {}
    for path in sorted(GOLDEN.glob("*/case.json")) if GOLDEN else ():
        data = read_json(path.parent.name)
        if (path.parent / data.get("checkpoint_file", "none")).is_file():
            found[path.parent.name] = family(data)
    return found


def family(data: Mapping[str, Any]) -> str:
    """Which kind of model the configuration of a case is of."""
    if "cfg" in data:
        return "actionformer"
    if "backbone" not in data["model_cfg"]:
        return "features"
    if data["repo"] == "PBD":
        return "fork"
    return "adapters" if "adapter_index" in data["model_cfg"]["backbone"]["backbone"] else "tuned"


def open_case(name: str) -> Case:
    data = read_json(name)
    calls = _actionformer_calls(name, data) if "cfg" in data else _opentad_calls(name, data)
    path, scores = folder(name) / data["checkpoint_file"], _scores(name)
    labels = read_json(name, scores.name)["class"] if scores else data.get("classes", [])
    return Case(name, lambda _: path, settings(data, next(iter(calls.values())).inputs), labels, calls,
                read_video_scores(scores) if scores else None)


def settings(data: Mapping[str, Any], inputs: Tensor) -> dict[str, Any]:
    """What a case says about what weights cannot tell, and nothing else."""
    model = data["cfg"]["model"] if "cfg" in data else data["model_cfg"]["projection"]
    attention = model.get("attn_cfg", model)
    told = {"head_heads": attention["n_head"], "window": model["max_seq_len"], "attention_window": attention["n_mha_win_size"],
            "absolute_position": model["use_abs_pe"]}
    if "backbone" not in data.get("model_cfg", ()):
        return told
    vit = data["model_cfg"]["backbone"]["backbone"]
    return told | {"heads": vit["num_heads"], "clip_frames": vit["num_frames"], "frame_size": inputs.shape[-1]}


def places(metas: Sequence[Mapping[str, Any]]) -> list[Place]:
    return [Place(meta.get("video_name") or meta["video_id"], meta.get("window_start_frame", 0), meta["fps"], meta["duration"])
            for meta in metas]


def _scores(name: str) -> Path | None:
    path = folder(name) / "external_cls.json"
    return path if path.exists() else None


def _opentad_calls(name: str, data: Mapping[str, Any]) -> dict[str, Call]:
    arrays, scores = np.load(folder(name) / "inputs.npz"), _scores(name)
    labels = read_json(name, scores.name)["class"] if scores else data["classes"]
    truth = {ours: [torch.from_numpy(arrays[f"gt_{ours}_b{sample}"]) for sample in range(len(arrays["inputs"]))]
             for ours in ("segments", "labels")}
    outputs = {kind: dict(np.load(path)) for kind in KINDS if (path := folder(name) / f"outputs_{kind}.npz").exists()}
    calls = {"batch": Call(torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["masks"]), outputs, places(data["metas"]),
                           **_detections(read_json(name, "detections_ema.json"), labels), **truth, losses=_losses(name))}
    for path in sorted(folder(name).glob("varlen_*.npz")):
        found, made = dict(np.load(path)), read_json(name, f"{path.stem}_detections.json")
        inputs = torch.from_numpy(found["input"])
        masks = torch.ones(1, inputs.shape[-1], dtype=torch.bool)
        calls[path.stem] = Call(inputs, masks, {"ema": found}, places(made["metas"]), **_detections(made, labels))
    return calls


def _detections(made: Mapping[str, Any], labels: Sequence[str]) -> dict[str, dict[str, Detections]]:
    return {ours: {video: Detections([item["segment"] for item in items], [item["score"] for item in items],
                                     [labels.index(item["label"]) for item in items]) for video, items in made[theirs].items()}
            for ours, theirs in (("windows", "before_cross_window_nms"), ("final", "final"))}


def _losses(name: str) -> dict[str, list[Losses]]:
    """Of OpenTAD in both modes; the original ActionFormer has training only, and one normaliser for all."""
    data, found = read_json(name, "losses.json"), {}
    for kind in KINDS:
        modes = data.get(kind, {})
        before = modes.get("loss_normalizer_before", data.get("loss_normalizer_before"))
        named = {False: modes.get("eval_mode"), True: modes if "cls_loss" in modes else modes.get("train_mode_no_stochastic")}
        found[kind] = [Losses(mode["cls_loss"], mode["reg_loss"], training, before) for training, mode in named.items() if mode]
    return found


def _actionformer_calls(name: str, data: Mapping[str, Any]) -> dict[str, Call]:
    calls = {}
    for video, meta in data["metas"].items():
        found = dict(np.load(folder(name) / f"infer_{video}_ema.npz"))
        inputs = torch.from_numpy(found["feats"])[None]
        final = Detections(*(found[f"final_{part}"] for part in ("segments", "scores", "labels")))
        masks = torch.ones(1, inputs.shape[-1], dtype=torch.bool)
        calls[video] = Call(inputs, masks, {"ema": found}, places([meta | {"video_id": video}]), final={video: final})
    train = np.load(folder(name) / "train_inputs.npz")
    features, segments, labels = ([torch.from_numpy(train[f"{part}{sample}"]) for sample in (0, 1)] for part in ("feats", "seg", "lab"))
    return calls | {"train": Call(*_padded(features), segments=segments, labels=labels, losses=_losses(name))}


def _padded(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sequences ``[C, T]`` as one batch ``[B, C, T]``, and its masks."""
    inputs = torch.nn.utils.rnn.pad_sequence([item.T for item in features], batch_first=True).transpose(1, 2).contiguous()
    return inputs, torch.stack([torch.arange(inputs.shape[-1]) < item.shape[1] for item in features])
