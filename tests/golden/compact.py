"""Cases as small files beside this one: the EMA weights, and what is needed of the calls. Written by :mod:`tests.golden.make_compact`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import VideoScores
from tests.checkpoint import reference_files as files
from tests.golden.cases import Call, Case, Losses, Place

FOLDER = Path(__file__).parent
#: Before the names of these cases.
PREFIX = "compact/"
#: Whether the names in ``state_dict_ema`` have the prefix ``module.``, which those in ``state_dict`` have in every code base.
PREFIXED_EMA = {"adapters": True, "tuned": True, "features": True, "fork": False, "actionformer": True}
_FIELDS = ("segments", "scores", "labels")
Arrays = dict[str, NDArray[Any]]


def families() -> dict[str, str]:
    """Name -> family of every case."""
    return {PREFIX + path.stem: str(np.load(path)["family"]) for path in sorted(FOLDER.glob("*.npz"))}


def merged_weights(name: str) -> dict[str, Tensor]:
    """Some weights as they are with the low-rank updates folded in."""
    stored = np.load(FOLDER / f"{name.removeprefix(PREFIX)}.npz")
    return {key.removeprefix("merged/"): torch.from_numpy(stored[key]) for key in stored if key.startswith("merged/")}


def store(case: Case, family: str, state: Mapping[str, Tensor], merged: Mapping[str, Tensor]) -> None:
    """Write a case with its EMA weights (names without a prefix), and some weights after a merge."""
    data: dict[str, Any] = {"settings": case.settings, "labels": list(case.labels), "calls": {}}
    if case.scores:
        data["scores"] = {video: row.tolist() for video, row in case.scores.scores.items()}
    arrays: Arrays = {"family": np.array(family), **_packed(state), **{f"merged/{key}": value.numpy() for key, value in merged.items()}}
    for name, call in case.calls.items():
        data["calls"][name] = {"places": [asdict(place) for place in call.places], "samples": len(call.segments),
                               "windows": list(call.windows), "final": list(call.final),
                               "losses": {kind: [asdict(item) for item in items] for kind, items in call.losses.items()}}
        arrays |= {f"{name}/{key}": value for key, value in _call_arrays(call).items()}
    np.savez_compressed(FOLDER / f"{case.name}.npz", data=np.array(json.dumps(data)), **arrays)


def _call_arrays(call: Call) -> Arrays:
    arrays = {"inputs": call.inputs.numpy(), "masks": call.masks.numpy()}
    arrays |= {f"output/{key}": value for key, value in call.outputs.get("ema", {}).items()}
    for part, found in (("windows", call.windows), ("final", call.final)):
        arrays |= {f"{part}/{video}/{field}": getattr(item, field) for video, item in found.items() for field in _FIELDS}
    for part, items in (("segments", call.segments), ("labels", call.labels)):
        arrays |= {f"{part}/{sample}": item.numpy() for sample, item in enumerate(items)}
    return arrays


def _packed(state: Mapping[str, Tensor]) -> Arrays:
    """All floats as four planes of bytes, which makes them a tenth smaller, and whole numbers with the names."""
    floats = torch.cat([value.flatten() for value in state.values() if value.is_floating_point()]).numpy()
    table = [[name, list(value.shape) if value.is_floating_point() else int(value)] for name, value in state.items()]
    return {"weights": np.ascontiguousarray(floats.view(np.uint8).reshape(-1, 4).T), "table": np.array(json.dumps(table))}


def _unpacked(stored: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    floats = torch.from_numpy(np.ascontiguousarray(stored["weights"].T).view(np.float32)[:, 0].copy())
    state, start = {}, 0
    for name, shape in json.loads(str(stored["table"])):
        size = 0 if isinstance(shape, int) else int(np.prod(shape, dtype=int))
        state[name] = torch.tensor(shape) if isinstance(shape, int) else floats[start : start + size].reshape(shape)
        start += size
    return state


def open_case(name: str) -> Case:
    stored = np.load(FOLDER / f"{name.removeprefix(PREFIX)}.npz")
    data = json.loads(str(stored["data"]))
    scores = {video: np.array(row) for video, row in data["scores"].items()} if "scores" in data else None
    calls = {key: _call({item.removeprefix(f"{key}/"): stored[item] for item in stored if item.startswith(f"{key}/")}, call)
             for key, call in data["calls"].items()}
    return Case(name, lambda folder: _write(folder, name, stored), data["settings"], data["labels"], calls,
                VideoScores(tuple(data["labels"]), scores) if scores else None)


def _call(arrays: Arrays, data: dict[str, Any]) -> Call:
    def found(part: str) -> dict[str, Detections]:
        return {video: Detections(*(arrays[f"{part}/{video}/{field}"] for field in _FIELDS)) for video in data[part]}

    def truth(part: str) -> list[Tensor]:
        return [torch.from_numpy(arrays[f"{part}/{sample}"]) for sample in range(data["samples"])]

    outputs = {key.removeprefix("output/"): value for key, value in arrays.items() if key.startswith("output/")}
    return Call(torch.from_numpy(arrays["inputs"]), torch.from_numpy(arrays["masks"]), {"ema": outputs} if outputs else {},
                [Place(**place) for place in data["places"]], found("windows"), found("final"), truth("segments"), truth("labels"),
                {kind: [Losses(**item) for item in items] for kind, items in data["losses"].items()})


def _write(folder: Path, name: str, stored: Mapping[str, NDArray[Any]]) -> Path:
    """A file as the code base writes it. Its raw weights are others, so that taking them is noticed."""
    ema = _unpacked(stored)
    raw = files.prefixed({key: value + 1 for key, value in ema.items()})
    return files.write(folder / f"{Path(name).name}.pth", raw, files.prefixed(ema) if PREFIXED_EMA[str(stored["family"])] else ema)
