"""Every command once as a real process: what scripts may rely on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tadshrink.checkpoint.io import load_checkpoint

EVAL = {"average_map", "map", "per_class", "videos", "ground_truths"}
SCORE = EVAL | {"rule", "per_class_map", "recall", "false_positives", "confidence_interval", "detections", "left_aside", "counted_anyway"}
WRITTEN = {"output", "checksum"}
MODEL = {"macs", "params", "latency_ms", "checksum", "heldout", "blocks", "speedup"}
KEYS = {
    "data": {"output", "videos", "seed"},
    "train": WRITTEN | {"curve", "heldout"},
    "eval": SCORE,
    "profile": {"params", "params_by_part", "macs", "latency_ms", "throughput", "peak_memory", "versus", "arch", "dropped", "summary"},
    "select": WRITTEN | {"metric", "baseline", "ranking", "seconds"},
    "drop": WRITTEN | {"dropped", "remaining", "now"},
    "prune": WRITTEN | {"macs", "params", "saved", "kept", "left", "max_difference"},
    "align": WRITTEN | {"curve", "lora"},
    "merge": WRITTEN | {"max_difference"},
    "detect": {"version", "results"},
    "export": {"checksum", "written", "onnx"},
    "run": WRITTEN | {"baseline", "final", "steps", "stopped_because", "work_dir"},
}
TABLES = {"eval": "Average AP per class", "profile": "MACs of one window", "select": "best to drop first",
          "prune": "What is left of each block", "detect": "testing_0000", "run": "stopped because the target is met"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def outcomes(tiny, folder: Path, process: Callable[..., Any]) -> dict[str, Any]:
    """A run of one drop, the same by hand (both at the same time), and the other commands."""
    base, data, path = tiny.checkpoint, ("--dataset", tiny.yaml), {name: folder / f"{name}.pth" for name in KEYS}
    epochs = ("--epochs", 1)
    commands = {
        "data": ("data", "make", "synthetic", "--videos", 10, "--root", folder),
        "train": ("train", *data, "--epochs", 0, "-o", path["train"]),
        "eval": ("eval", base, *data, "--split", "testing"),
        "profile": ("profile", base, "--runs", 1),
        "select": ("select", base, *data, "--metric", "mse", "-o", path["select"]),
        "drop": ("drop", path["select"], "--count", 1, "-o", path["drop"]),
        "prune": ("prune", base, "--target", "10%", "--importance", "random", "--seed", 3, "-o", path["prune"]),
        "align": ("align", path["drop"], "--teacher", base, *data, *epochs, "-o", path["align"]),
        "merge": ("merge", path["align"], "-o", path["merge"]),
        "detect": ("detect", base, tiny.video(), "--score-threshold", 0, "-o", folder / "found.json", "--plot", folder / "found.png"),
        "export": ("export", base, "--opentad", path["export"]),
        "run": ("run", base, *data, "--target", 1, "--metric", "mse", "--tolerance", 100, "--latency-runs", 1, *epochs,
                "--work-dir", folder / "work"),
    }
    by_hand = ("select", "drop", "align", "merge")

    def start(names: Iterable[str]) -> dict[str, Any]:
        return {name: process(*commands[name], "--json") for name in names}

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(start, (by_hand, [name for name in commands if name not in by_hand]))
    return first | second


@pytest.mark.parametrize("name", KEYS)
def test_stdout_is_json_with_the_keys_of_the_contract_and_nothing_else(outcomes: dict[str, Any], name: str) -> None:
    outcome = outcomes[name]
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out).keys() == KEYS[name]
    assert "Traceback" not in outcome.err
    assert TABLES.get(name, "") in outcome.err


@pytest.mark.parametrize("name", ["train", "select", "drop", "prune", "align", "merge", "run"])
def test_the_file_and_the_checksum_of_its_weights_are_told(outcomes: dict[str, Any], name: str) -> None:
    result = json.loads(outcomes[name].out)
    assert load_checkpoint(result["output"]).checksum == result["checksum"]
    assert result["checksum"] in outcomes[name].err


def test_run_and_the_stages_by_hand_end_in_the_same_file(outcomes: dict[str, Any]) -> None:
    by_hand, by_run = (json.loads(outcomes[name].out) for name in ("merge", "run"))
    assert by_hand["checksum"] == by_run["checksum"]
    assert Path(by_hand["output"]).read_bytes() == Path(by_run["output"]).read_bytes()


def test_inner_keys_of_profile_and_select(outcomes: dict[str, Any]) -> None:
    profile = json.loads(outcomes["profile"].out)
    assert profile["macs"].keys() == {"total", "backbone", "head", "per_block", "not_counted", "parts", "convention"}
    assert profile["latency_ms"].keys() == {"median", "p95", "min", "runs", "device", "dtype", "input_shape", "threads", "torch_version",
                                            "compiled"}
    assert len(profile["macs"]["per_block"]) == 4
    select = json.loads(outcomes["select"].out)
    assert all(item.keys() == {"block", "score", "change"} for item in select["ranking"])
    assert json.loads(outcomes["drop"].out)["dropped"] == [select["ranking"][0]["block"]]


def test_inner_keys_of_run(outcomes: dict[str, Any]) -> None:
    result = json.loads(outcomes["run"].out)
    for name in ("baseline", "final"):
        assert result[name].keys() == MODEL | {"test"}
        assert result[name]["heldout"].keys() == result[name]["test"].keys() == EVAL
    (step,) = result["steps"]
    assert step.keys() == MODEL | {"dropped", "seconds", "path", "kept"}
    assert step["seconds"].keys() == {"select", "drop", "align", "merge", "evaluate"}


def test_the_table_of_a_run_has_a_row_for_every_model(outcomes: dict[str, Any]) -> None:
    lines = [line for line in outcomes["run"].err.splitlines() if "drop 1 " in line or "baseline " in line]
    assert sum("100.0%" in line for line in lines) == 1
    assert "mAP on the test split: 2 videos" in outcomes["run"].err
    assert "speed-up" in outcomes["run"].err


def test_detect_writes_the_json_and_the_picture(outcomes: dict[str, Any], folder: Path) -> None:
    assert json.loads((folder / "found.json").read_text()) == json.loads(outcomes["detect"].out)
    assert (folder / "found.png").read_bytes().startswith(b"\x89PNG")
