"""The table of tests.benchmarks.compression."""

from __future__ import annotations

from statistics import mean
from typing import Any

from tests.benchmarks.seeds import cells


def table(records: list[dict[str, Any]], speeds: dict[str, float]) -> str:
    """Mean and spread over seeds of every variant, target by target, as Markdown."""
    base = next(record["rows"][0]["macs"] for record in records)
    lines = ["| | model | blocks | MACs | speed-up | test average mAP, per seed | mean | spread | mAP@0.5 | held-out mean | time | memory |",
             "|---" * 12 + "|"]
    for target in dict.fromkeys(row["target"] for record in records for row in record["rows"]):
        for variant in dict.fromkeys(record["variant"] for record in records):
            mine = [(record, row) for record in records for row in record["rows"] if (record["variant"], row["target"]) == (variant, target)]
            if mine:
                lines.append(_line(target, variant, mine, base, speeds))
    return "\n".join(lines) + "\n"


def _line(target: str, variant: str, mine: list[tuple[dict[str, Any], dict[str, Any]]], base: int, speeds: dict[str, float]) -> str:
    rows = [row for _, row in mine]
    speedup = speeds.get(str(rows[0]["blocks"]))
    scores, heldout = ([row[split]["average_map"] for row in rows] for split in ("testing", "heldout"))
    # Of jobs that one process did from start to end. On a shared machine others make a job longer, never shorter.
    whole = [(row["seconds"], record["peak_bytes"]) for record, row in mine if record["peak_bytes"]]
    row = [f"-{target}" if target else "", variant, str(rows[0]["blocks"]), f"{rows[0]['macs'] / base:.1%}",
             f"{speedup:.2f}x" if speedup else "",
             *cells(scores),
             f"{mean(row['testing']['map']['0.5'] for row in rows):.2f}", f"{mean(heldout):.2f}",
             f"{min(seconds for seconds, _ in whole) / 60:.1f} min" if whole else "",
             f"{max(peak for _, peak in whole) / 1e9:.1f} GB" if whole else ""]
    return f"| {' | '.join(row)} |"
