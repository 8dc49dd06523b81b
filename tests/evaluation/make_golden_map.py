"""Packs the inputs and results of three reference evaluators into golden/mean_ap.npz.

    python -m tests.evaluation.make_golden_map

Needs the folder of reference results; the inputs are random numbers. Results are those with a stable sort.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.checkpoint.reference_files import shared_golden

TOOLS = ("opentad", "anet", "actionformer")
#: The label of no class stands after the classes.
UNKNOWN = 7


def pack(folder: Path) -> dict[str, np.ndarray]:
    """Arrays by ``case/...``."""
    cases = json.loads((folder / "cases.json").read_text())
    labels = {name: number for number, name in enumerate([*cases["labels"], "Ambiguous"])}
    results = {tool: json.loads((folder / f"result_{tool}_stable.json").read_text())["results"] for tool in TOOLS}
    packed = {f"thresholds/{name}": np.array(values) for name, values in cases["tiou"].items()}
    for case, options in cases["cases"].items():
        database = json.loads((folder / f"{case}_gt.json").read_text())["database"]
        found = json.loads((folder / f"{case}_pred.json").read_text())["results"]
        blocked = json.loads((folder / options["blocked"]).read_text()) if options else []
        inside = [name for name, entry in database.items() if entry["subset"] == "validation"]
        videos = {name: number for number, name in enumerate(dict.fromkeys([*inside, *found]))}
        truth = [(videos[name], labels[item["label"]], *item["segment"]) for name in inside for item in database[name]["annotations"]]
        rows = [(videos[name], labels.get(item["label"], UNKNOWN), *item["segment"], item["score"]) for name in found for item in found[name]]
        packed |= {f"{case}/truth": np.array(truth), f"{case}/found": np.array(rows).reshape(-1, 5), f"{case}/count": np.array(len(inside)),
                   f"{case}/blocked": np.array([videos[name] for name in blocked], dtype=int)}
        for tool in TOOLS:
            for protocol, result in results[tool][case].items():
                if isinstance(result, dict) and "ap" in result:
                    packed |= {f"{case}/{tool}/{protocol}/{key}": value for key, value in _result(result, labels).items()}
    return packed


def _result(result: dict[str, Any], labels: dict[str, int]) -> dict[str, np.ndarray]:
    """AP [C, T] (NaN where there is none), average mAP, and recall [K, T] as far as the program gives it."""
    order = [int(name) if name.isdigit() else labels[name] for name in result["activity_index"]]
    table = np.full((len(labels), len(result["ap"])), np.nan)
    table[order] = np.array(result["ap"]).T
    average = result["average_mAP"] if "average_mAP" in result else result["metrics"]["average_mAP"]
    packed = {"ap": table, "average": np.array(average)}
    if "recall_topkx" in result:
        packed["recall"] = np.array(result["recall_topkx"]).mean(axis=2).T
    if "mRecall" in result:
        packed["recall"] = np.array(result["mRecall"]).T
    return packed


if __name__ == "__main__":
    folder = shared_golden()
    assert folder is not None
    np.savez_compressed(Path(__file__).parent / "golden" / "mean_ap.npz", **pack(folder / "09_map"))
