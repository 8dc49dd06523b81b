from __future__ import annotations

from dataclasses import replace

from tadshrink.report.findings import Findings
from tadshrink.report.missing import missing
from tests.report.examples import told


def test_a_whole_run_lacks_what_no_run_measures(findings: Findings) -> None:
    told_ = " ".join(missing(findings))
    assert all(word in told_ for word in ("one seed", "Decoding", "Norms"))
    assert "Losses" not in told_ and "Latency and speed-up" not in told_


def test_reasons_come_first(findings: Findings) -> None:
    assert missing(replace(findings, notes=("Detections: none are here.",)))[0] == "Detections: none are here."


def test_a_run_without_test_figures_says_so(findings: Findings) -> None:
    assert any("the run has not ended" in text for text in missing(told(final=None)))
    assert any("nothing was trained or aligned" in text for text in missing(told(steps=())))


def test_a_checkpoint_lacks_all_that_its_run_knew(alone: Findings) -> None:
    told_ = " ".join(missing(alone))
    assert all(word in told_ for word in ("Accuracy on held-out", "Latency and speed-up", "Detections in videos", "Rankings"))


def test_a_recogniser_is_looked_at_by_its_own_commands(alone: Findings) -> None:
    told_ = " ".join(missing(replace(alone, recogniser=True)))
    assert all(word in told_ for word in ("tadshrink sfc eval", "tadshrink sfc classify"))
    assert not any(word in told_ for word in ("tadshrink eval", "--vs", "tadshrink detect"))
