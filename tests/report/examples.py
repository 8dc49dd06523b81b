"""A run as it might have been, told by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tadshrink.report.findings import Findings, Model, Segment, Step, Timeline
from tadshrink.run_settings import RunSettings


def scores(average: float, **classes: float) -> dict[str, Any]:
    return {"average_map": average, "map": {"0.3": average + 1, "0.7": average - 1}, "per_class": classes or {"run": average},
            "videos": 7, "ground_truths": 41}


def ranking(**changes: float) -> dict[str, Any]:
    rows = [{"block": int(name[1:]), "score": 50 + change, "change": change} for name, change in changes.items()]
    return {"metric": "map", "baseline": 50.0, "ranking": rows}


def told(**changes: Any) -> Findings:
    """Four blocks, of which 2 and then 0 went, and 3 was tried and taken back."""
    base = Model("baseline", (), 4, 1_000_000_000, 2_000_000, 80.0, 0.97, "a" * 64, scores(50.0),
                 scores(60.0, run=60.0, **{"<script>alert(1)</script>": 58.125}))
    models = [Model("drop 1", (2,), 3, 800_000_000, 1_600_000, 70.0, 1.2, "b" * 64, scores(51.5)),
              Model("drop 2", (0,), 2, 600_000_000, 1_200_000, 50.0, 1.55, "c" * 64, scores(49.0)),
              Model("drop 3", (3,), 1, 400_000_000, 800_000, 40.0, 1.9, "d" * 64, scores(30.0), kept=False)]
    rankings = [ranking(b2=0.5, b0=0.25, b1=-4.0, b3=-1.0), ranking(b0=1.0, b3=-0.125, b1=-8.0), ranking(b3=-3.0, b1=-9.0)]
    curve = [{"feature": 0.2, "cls": 0.0625}, {"feature": 0.004, "cls": 0.05}]
    steps = tuple(Step(model, row, curve, {"select": 3.0, "align": 61.0}) for model, row in zip(models, rankings, strict=True))
    final = Model("final", (), 2, 600_000_000, 1_200_000, 50.0, 1.55, "c" * 64, scores(49.0),
                  scores(58.5, run=62.0, **{"<script>alert(1)</script>": 53.0}))
    settings = RunSettings(target="3", tolerance=5).model_dump(mode="json")
    plan = {"baseline": "a" * 16, "dataset": "my data.yaml", "root": None, "data": {}, "settings": settings, "device": "cpu float32",
            "architecture": {"name": "x"}}
    timeline = Timeline("video <b>", 30.0, (Segment(1, 4, "run"), Segment(8, 12, "<script>alert(1)</script>")),
                        (Segment(1.5, 4, "run", 0.75), Segment(20, 21, "run", 0.125)), (Segment(8, 11, "<script>alert(1)</script>", 0.5),))
    values: dict[str, Any] = {
        "source": Path("work"), "title": "my data, target 3", "summary": "a ViT of 4 blocks", "depth": 4,
        "classes": ("run", "<script>alert(1)</script>"), "dropped": (2, 0), "baseline": base, "steps": steps, "final": final,
        "history": [], "checksum": "c" * 64, "stopped": "without block 3 it stays at 30; kept is the model without blocks 2, 0", "plan": plan,
        "timelines": (timeline,)}
    return Findings(**values | changes)
