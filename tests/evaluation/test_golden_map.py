"""mAP and recall beside OpenTAD's, ActivityNet's and ActionFormer's own programs (with a stable sort)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tadshrink.evaluation.matching import compare
from tadshrink.evaluation.mean_ap import map_result
from tadshrink.evaluation.recall import recall
from tadshrink.evaluation.rules import RULES
from tadshrink.evaluation.tables import Found, flatten_truth

GOLDEN = np.load(Path(__file__).parent / "golden" / "mean_ap.npz")
TOOLS = {"opentad": "activitynet", "anet": "activitynet-official", "actionformer": "actionformer"}
RESULTS = sorted(name.rsplit("/", 1)[0] for name in GOLDEN.files if name.endswith("/ap"))
CLASSES = tuple("ABCDEFG")


def test_there_are_all_cases() -> None:
    # 14 cases for 2 protocols; ActivityNet's program stops at 5 of them with a KeyError.
    assert len(RESULTS) == 2 * (14 + 9 + 14)


@pytest.mark.parametrize("name", RESULTS)
def test_golden(name: str) -> None:
    case, tool, protocol = name.split("/")
    rows, truth_rows, count = GOLDEN[f"{case}/found"], GOLDEN[f"{case}/truth"], int(GOLDEN[f"{case}/count"])
    blocked = GOLDEN[f"{case}/blocked"] if tool != "actionformer" else np.zeros(0)
    # The label behind the classes is none of them.
    rows = rows[~np.isin(rows[:, 0], blocked) & (rows[:, 1] < len(CLASSES))]
    truth = {str(video): [(start, end, CLASSES[int(label)]) for of, label, start, end in truth_rows if of == video]
             for video in range(count) if video not in blocked}
    numbers = {int(name): place for place, name in enumerate(truth)} | {video: video + 100 for video in range(count, 100)}
    videos = np.array([numbers[int(video)] for video in rows[:, 0]], dtype=np.int64)
    found = Found(rows[:, 2:4], rows[:, 4], rows[:, 1].astype(np.int64), videos)
    rule = RULES[TOOLS[tool]]
    comparison = compare(flatten_truth(truth, CLASSES, rule), found, GOLDEN[f"thresholds/{protocol}"], rule)
    result = map_result(comparison, CLASSES)
    np.testing.assert_allclose(result.per_class / 100, GOLDEN[f"{name}/ap"], rtol=0, atol=1e-12)
    assert result.average / 100 == pytest.approx(float(GOLDEN[f"{name}/average"]), abs=1e-12)
    if f"{name}/recall" in GOLDEN.files:
        mean = np.nanmean(recall(comparison, len(CLASSES)), axis=2)
        np.testing.assert_allclose(mean / 100, GOLDEN[f"{name}/recall"], rtol=0, atol=1e-12)
