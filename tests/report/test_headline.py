from __future__ import annotations

from dataclasses import replace

from tadshrink.report.findings import PRUNING, Findings
from tadshrink.report.headline import headline, last_good, removed, tiles
from tests.report.examples import told

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


def test_what_went_what_it_cost_and_what_it_gained(findings: Findings) -> None:
    shown = {tile.name: tile.value for tile in tiles(findings)}
    assert shown == {"removed": "2 of 4", "multiply-adds of a window": f"{MINUS}40.0 %", "speed of the model": f"1.55{TIMES}",
                     "test mAP": f"{MINUS}1.50", "held-out mAP": f"{MINUS}1.00", "parameters": f"{MINUS}40.0 %"}
    more = {tile.name: tile.more for tile in tiles(findings)}
    assert more["removed"] == "blocks 2, 0"
    assert more["test mAP"] == "60.00 → 58.50; 7 videos, 41 actions"
    assert more["speed of the model"].endswith(f"cpu float32; the baseline against itself 0.97{TIMES}")


def test_a_step_that_was_taken_back_removed_nothing(findings: Findings) -> None:
    assert removed(findings) == (2, 0)
    nothing = told(steps=findings.steps[2:], final=findings.baseline, dropped=())
    assert {tile.name: tile.value for tile in tiles(nothing)} == {"removed": "0 of 4", "test mAP": "60.00", "held-out mAP": "50.00"}


def test_pruning_that_was_taken_back_is_not_told(findings: Findings) -> None:
    step = replace(findings.steps[0], model=replace(findings.steps[0].model, name=PRUNING, dropped=(), kept=False))
    taken_back = replace(findings, steps=(*findings.steps[:1], step))
    assert "pruned" not in tiles(taken_back)[0].more
    kept = replace(step, model=replace(step.model, kept=True))
    assert "channels pruned from the rest" in tiles(replace(taken_back, steps=(*findings.steps[:1], kept)))[0].more


def test_halves_are_counted_as_halves(alone: Findings) -> None:
    assert (tiles(replace(alone, dropped=("1.mlp",)))[0].value, tiles(replace(alone, dropped=("1.mlp",)))[0].more) == ("1 of 8", "half 1.mlp")
    assert tiles(replace(alone, dropped=(0, "1.mlp")))[0].more == "units 0, 1.mlp"


def test_a_block_and_a_half_are_three_halves(alone: Findings) -> None:
    assert tiles(replace(alone, dropped=(3, "2.mlp")))[0].value == "3 of 8"


def test_what_was_gone_before_the_run_is_not_counted(findings: Findings) -> None:
    # Of four blocks one was dropped earlier, or a half of one.
    assert tiles(replace(findings, dropped=(3, 2, 0)))[0].value == "2 of 3"
    assert tiles(replace(findings, dropped=("3.mlp", 2, 0)))[0].value == "4 of 7"


def test_why_it_ended_is_told(findings: Findings) -> None:
    assert "The run ended because without block 3 it stays at 30" in str(headline(findings))
    unfinished = told(final=None, stopped=None, steps=findings.steps[:1])
    assert "has not ended: 1 step measured so far" in str(headline(unfinished))
    assert last_good(unfinished) is findings.steps[0].model


def test_other_weights_than_those_of_the_run_are_a_warning(findings: Findings) -> None:
    assert "the checksums differ" in str(headline(replace(findings, sound=False)))
    assert "the checksums differ" not in str(headline(findings))


def test_a_checkpoint_tells_what_it_can(alone: Findings) -> None:
    assert {tile.name: tile.value for tile in tiles(alone)} == {"removed": "2 of 4", "multiply-adds of a window": f"{MINUS}46.2 %"}
    assert "from the checkpoint alone" in str(headline(alone))


def test_what_multiply_adds_are_of_is_told(alone: Findings) -> None:
    names = [tile.name for tile in tiles(replace(alone, counted="a view"))]
    assert "multiply-adds of a view" in names
    assert "removed" not in [tile.name for tile in tiles(replace(alone, depth=0))]


def test_a_recogniser_has_no_work_dir(alone: Findings) -> None:
    assert "work dir" in str(headline(alone))
    assert "work dir" not in str(headline(replace(alone, recogniser=True)))
