from __future__ import annotations

from tadshrink.report.findings import Findings


def test_models_are_the_baseline_and_those_of_the_steps(findings: Findings, alone: Findings) -> None:
    assert [model.name for model in findings.models] == ["baseline", "drop 1", "drop 2", "drop 3"]
    assert [model.name for model in alone.models] == ["drop 1", "drop 2"]
    assert (findings.is_run, alone.is_run) == (True, False)
