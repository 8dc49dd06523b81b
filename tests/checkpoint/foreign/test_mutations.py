"""Whatever is done to a file, it is read or refused in one line: no other exception, nothing that hangs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tests.checkpoint import reference_files as files

GOLDEN = files.shared_golden()
#: Seconds within which every file must be read or refused; some hundredths are usual.
LIMIT = 30.0

#: What a weight may become, from the tensor that it was.
VALUES: dict[str, Callable[[torch.Tensor], Any]] = {
    "int": lambda old: 3,
    "text": lambda old: "weights",
    "none": lambda old: None,
    "nested": lambda old: {"a": {"b": old}},
    "list": lambda old: [old, old],
    "nan": lambda old: torch.full(old.shape, float("nan")),
    "inf": lambda old: torch.full(old.shape, -float("inf")),
    "empty": lambda old: torch.zeros(0),
    "empty but vast": lambda old: torch.zeros(10**12, 0, 3),
    "scalar": lambda old: torch.tensor(1.0),
    "vast": lambda old: torch.ones(1).expand(10**15),
    "vast and flat": lambda old: torch.ones(1).expand(10**6, 10**6, 1),
    "longer": lambda old: torch.ones(*old.shape[:-1], (old.shape or (1,))[-1] + 1),
    "one more axis": lambda old: old.float()[None],
    "turned": lambda old: old.float().movedim(0, -1) if old.ndim else old,
    "whole numbers": lambda old: old.long(),
    "bytes": lambda old: old.to(torch.uint8),
    "complex": lambda old: old.to(torch.complex64),
    "double": lambda old: old.double(),
    "half": lambda old: old.half(),
    "sparse": lambda old: old.float().to_sparse() if old.ndim else old,
    "meta": lambda old: torch.empty(old.shape, device="meta"),
    "parameter": lambda old: torch.nn.Parameter(old.float()),
    "same": lambda old: old,
}
#: What a name may become.
NAMES: dict[str, Callable[[str], Any]] = {
    "number": lambda old: 7,
    "none": lambda old: None,
    "nothing": lambda old: "",
    "tuple": lambda old: (old, 1),
    "control": lambda old: old + "\x1b[2J\n",
    "surrogate": lambda old: "\ud800" + old,
    "long": lambda old: old * 300,
    "prefixed": lambda old: "module." + old,
    "far": lambda old: old.replace(".0.", ".4000000000."),
    "next": lambda old: old.replace(".0.", ".77."),
    "zeros": lambda old: old.replace(".0.", ".00."),
    "digits": lambda old: old.replace(".0.", "." + "9" * 5000 + "."),
    "other digits": lambda old: old.replace(".0.", ".\u0663."),
    "braces": lambda old: old + ".{0}",
    "cut": lambda old: old.rpartition(".")[0],
    "same": lambda old: old,
}
#: What the whole content may become.
WHOLE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "list": lambda old: [old],
    "number": lambda old: 3,
    "text": lambda old: "checkpoint",
    "none": lambda old: None,
    "tensor": lambda old: torch.ones(3),
    "empty": lambda old: {},
    "no raw": lambda old: {key: value for key, value in old.items() if key != "state_dict"},
    "no ema": lambda old: {key: value for key, value in old.items() if key != "state_dict_ema"},
    "no weights": lambda old: {"epoch": 3},
    "ema is text": lambda old: old | {"state_dict_ema": "weights"},
    "ema is empty": lambda old: old | {"state_dict_ema": {}},
    "ema is none": lambda old: old | {"state_dict_ema": None},
    "ema within ema": lambda old: old | {"state_dict_ema": {"state_dict": old["state_dict_ema"]}},
    "another key": lambda old: {"model": old["state_dict_ema"]},
    "drop list is text": lambda old: old | {"drop_idx": "3"},
    "drop list is odd": lambda old: old | {"drop_idx": [1.5, -1]},
    "drop list is far": lambda old: old | {"drop_idx": [10**9]},
    "drop list is long": lambda old: old | {"drop_idx": list(range(5000))},
    "drop list is wrong": lambda old: old | {"drop_idx": [0]},
    "format": lambda old: old | {"format": "tadshrink-checkpoint", "format_version": 1, "checksum": "x"},
    "same": lambda old: old,
}


def read(path: Path, told: LoadSettings) -> Checkpoint | None:
    """The checkpoint, or None where it was refused in one line."""
    start = time.monotonic()
    try:
        return load_checkpoint(path, told)
    except UserError as error:
        line = str(error)
        assert line.startswith(f"{path}: "), line
        assert line.isprintable() and len(line) < 3000, line
        return None
    finally:
        assert time.monotonic() - start < LIMIT


def mutated_weights(content: dict[str, Any], index: int, value: str, name: str, action: str) -> dict[str, Any]:
    """One weight replaced, removed, or there twice."""
    weights = content["state_dict_ema"]
    key = sorted(weights)[index % len(weights)]
    made = {old: item for old, item in weights.items() if old != key or action == "twice"}
    if action != "removed":
        made[NAMES[name](key)] = VALUES[value](weights[key])
    return content | {"state_dict_ema": made}


def mutated_bytes(data: bytes, place: float, bit: int, action: str) -> bytes:
    spot = int(place * (len(data) - 1))
    if action == "cut":
        return data[:spot]
    if action == "flipped":
        return data[:spot] + bytes([data[spot] ^ 1 << bit]) + data[spot + 1 :]
    return {"removed": data[:spot] + data[spot + 64 :], "twice": data[:spot] + data[spot : spot + 64] + data[spot:],
            "zeros": data[:spot] + bytes(64) + data[spot + 64 :]}[action]


@dataclass(frozen=True, repr=False)  # Each explicit example is printed.
class Source:
    """A small file, what is in it (read once, since that takes longest; not to be changed), and what must be told to read it."""

    data: bytes
    content: dict[str, Any]
    told: LoadSettings


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Small files of every layout."""
    path = tmp_path_factory.mktemp("sources") / "a.pth"
    plain, features = LoadSettings(window=16, frames_per_cell=2), LoadSettings(attention_window=5, window=64)
    made = [
        (files.write_opentad, files.weights(small(files.video_config(adapters=(1,), depth=2))), plain),
        (files.write_fork, files.add_lora(files.weights(small(files.video_config(depth=3)), [1]), 2), plain),
        (files.write_fork, files.add_lora(files.weights(small(files.video_config(depth=2))), 2, feed_forward=3), plain),
        (files.write_opentad, files.weights(small(files.feature_config())), features),
        (files.write_actionformer, files.weights(small(files.feature_config("actionformer", relative_position=True))), features),
    ]
    return [Source(write(path, state).read_bytes(), content_of(path), told) for write, state, told in made]


def small(config: DetectorConfig) -> DetectorConfig:
    """With a head of few weights: the time that a file takes is in their number."""
    few = {"levels": 2, "regression_ranges": ((0, 4), (4, 10000)), "embed_layers": 1, "stem_layers": 1, "head_layers": 1}
    return config.model_copy(update={"head": config.head.model_copy(update=few)})


def content_of(path: Path) -> Any:
    return torch.load(path, weights_only=True)


PROPERTY = settings(max_examples=25, deadline=timedelta(seconds=LIMIT), suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(st.integers(0, 4), st.integers(0, 400), st.sampled_from(sorted(VALUES)), st.sampled_from(sorted(NAMES)),
       st.sampled_from(["replaced", "removed", "twice"]))
@example(0, 3, "empty but vast", "same", "replaced")
@example(0, 3, "vast", "same", "replaced")
@example(1, 8, "same", "digits", "twice")
def test_one_weight_is_changed(tmp_path: Path, sources: list[Source], which: int, index: int, value: str, name: str, action: str) -> None:
    source = sources[which]
    torch.save(mutated_weights(source.content, index, value, name, action), tmp_path / "a.pth")
    checkpoint = read(tmp_path / "a.pth", source.told)
    untouched = action != "removed" and name == "same" and value in ("same", "half", "double", "parameter")
    if untouched:
        assert checkpoint is not None


@PROPERTY
@given(st.integers(0, 4), st.floats(0, 1), st.integers(0, 7), st.sampled_from(["cut", "flipped", "removed", "twice", "zeros"]))
def test_bytes_are_changed(tmp_path: Path, sources: list[Source], which: int, place: float, bit: int, action: str) -> None:
    (tmp_path / "a.pth").write_bytes(mutated_bytes(sources[which].data, place, bit, action))
    read(tmp_path / "a.pth", sources[which].told)


@pytest.mark.parametrize("change", WHOLE)
def test_the_whole_is_changed(tmp_path: Path, sources: list[Source], change: str) -> None:
    for source in sources:
        torch.save(WHOLE[change](source.content), tmp_path / "a.pth")
        readable = change in ("same", "no raw", "no ema", "ema is none", "another key")
        assert (read(tmp_path / "a.pth", source.told) is not None) == readable or change == "drop list is wrong"


@pytest.mark.skipif(GOLDEN is None, reason="no folder of reference checkpoints")
@pytest.mark.parametrize("name", [
    "06_actionformer_original/ckpt/epoch_004.pth.tar", "03_pbd_student/checkpoint/best.pth",
    *(pytest.param(name, marks=pytest.mark.slow)
      for name in ("05_opentad_actionformer_i3d/checkpoint/epoch_3.pth", "01c_adatad_adapter_224/checkpoint/epoch_3.pth"))])
def test_reference_checkpoints_are_changed(tmp_path: Path, name: str) -> None:
    assert GOLDEN is not None
    data, choose = (GOLDEN / name).read_bytes(), random.Random(name)
    content, path = content_of(GOLDEN / name), tmp_path / "b.pth"
    content = {key: content[key] for key in ("epoch", "state_dict", "state_dict_ema")}
    for case in range(8):
        if case % 2:
            action = choose.choice(["cut", "flipped", "removed", "twice", "zeros"])
            path.write_bytes(mutated_bytes(data, choose.random(), choose.randrange(8), action))
        else:
            action = choose.choice(["replaced", "removed", "twice"])
            torch.save(mutated_weights(content, choose.randrange(400), choose.choice([*VALUES]), choose.choice([*NAMES]), action), path)
        read(path, LoadSettings())
