"""Runs that prune channels after the last drop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tadshrink import run_steps
from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.compress.pruning import Prunable
from tadshrink.compress.select_settings import SelectOptions, SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.errors import UserError
from tadshrink.pipeline import run
from tadshrink.profiling.latency import Latency, LatencyPair, Ratio
from tadshrink.profiling.macs import detector_macs
from tadshrink.report.gather import gather_checkpoint, gather_run
from tadshrink.report.page import render
from tadshrink.reporting import SILENT
from tadshrink.run_inputs import open_inputs
from tadshrink.run_settings import RunSettings
from tadshrink.stages.align import align
from tadshrink.stages.common import open_detector
from tadshrink.stages.merge import merge
from tadshrink.stages.prune import prune
from tadshrink.stopping import is_back
from tests.notes import Notes
from tests.runs import scored

pytestmark = pytest.mark.usefixtures("counted_once")
SETTINGS = RunSettings(target="1", tolerance=100, latency_runs=1, with_channel_pruning="10%", select=SelectSettings(metric="cosine"),
                       align=AlignSettings(epochs=1, batch_size=4))


@pytest.fixture(scope="module")
def done(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tiny.checkpoint, tiny.choice, tmp_path_factory.mktemp("pruning"), SETTINGS, device="cpu").to_json()


def test_what_the_drops_left_is_pruned_healed_and_measured(done: dict[str, Any]) -> None:
    dropped, pruned = done["steps"]
    assert (dropped["blocks"], pruned["blocks"], pruned["dropped"]) == (3, 3, [])
    base = done["baseline"]["macs"]
    assert pruned["macs"] == done["final"]["macs"] == detector_macs(open_detector(Path(done["output"]), "cpu", SILENT).detector).total
    # Ten percent of the uncompressed model's, as near as whole heads and groups of hidden units come to it.
    assert pruned["pruned"] == (dropped["macs"] - pruned["macs"]) / base == pytest.approx(0.1, abs=0.02)
    assert pruned["seconds"].keys() == {"prune", "align", "merge", "evaluate"}
    assert done["checksum"] == pruned["checksum"]
    kept = f"kept is the model without block {dropped['dropped']}, with {pruned['pruned']:.1%} of the MACs pruned from its blocks"
    assert done["stopped_because"].endswith(kept)


def test_by_hand_it_gives_the_same_weights(done: dict[str, Any], tiny: Any, tmp_path: Path) -> None:
    dropped, pruned = done["steps"]
    share = 10 * done["baseline"]["macs"] / dropped["macs"]
    steps = [tmp_path / f"{name}.pth" for name in ("pruned", "aligned", "merged")]
    prune(Path(dropped["path"]), steps[0], PruneSettings(target=f"{share:.6f}%"), device="cpu")
    align(steps[0], tiny.checkpoint, tiny.choice, steps[1], SETTINGS.align, "cpu")
    merge(steps[1], steps[2], device="cpu")
    assert load_checkpoint(steps[2]).checksum == pruned["checksum"]


def test_broken_off_while_it_prunes_and_heals_it_ends_in_the_same_weights(done: dict[str, Any], tiny: Any, tmp_path: Path, interrupt: Any,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    honest, ends = run_steps.prune_opened, []

    def stopped(*arguments: Any, **named: Any) -> Any:
        result = honest(*arguments, **named)
        ends.append("pruned")
        if len(ends) == 1:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(run_steps, "prune_opened", stopped)
    # After the pruned file was written, but before it was noted; then in the alignment of what is left.
    for reporter in (interrupt(), interrupt("pruning: align", 2)):
        with pytest.raises(KeyboardInterrupt):
            run(tiny.checkpoint, tiny.choice, tmp_path / "work", SETTINGS, False, "cpu", reporter)
    left = {path.name for path in (tmp_path / "work" / "step-2").glob("*")}
    assert "pruned.pth" in left and "merged.pth" not in left
    result = run(tiny.checkpoint, tiny.choice, tmp_path / "work", SETTINGS, device="cpu").to_json()
    assert ends == ["pruned", "pruned"]
    assert result["checksum"] == done["checksum"]
    assert [step["kept"] for step in result["steps"]] == [step["kept"] for step in done["steps"]]


def test_accuracy_that_does_not_come_back_leaves_the_drops(done: dict[str, Any], tiny: Any, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    honest = run_steps.evaluate_detector

    def judged(opened: Any, *rest: Any, **more: Any) -> Any:
        result = honest(opened, *rest, **more)
        narrower = opened.checkpoint.architecture["backbone"]["kept"]
        return _At(result, 0.0 if narrower else 50.0)

    monkeypatch.setattr(run_steps, "evaluate_detector", judged)
    settings = SETTINGS.model_copy(update={"tolerance": 5, "align": AlignSettings(epochs=0)})
    result = run(tiny.checkpoint, tiny.choice, tmp_path / "work", settings, device="cpu").to_json()
    assert [step["kept"] for step in result["steps"]] == [True, False]
    assert "after channel pruning the held-out average mAP stays at 0.00" in result["stopped_because"]
    assert result["stopped_because"].endswith(f"kept is the model without block {result['steps'][0]['dropped']}")
    assert result["checksum"] == result["steps"][0]["checksum"]


class _At:
    """Figures with another average."""

    def __init__(self, result: Any, average: float) -> None:
        self.result, self.average = result, average

    def to_json(self) -> dict[str, Any]:
        return {**self.result.to_json(), "average_map": self.average}


@pytest.mark.parametrize(("given", "message"), [("3", "is not a share"), ("0%", "is not a share"), ("70%", r"can be pruned from the blocks"),
                                                ("0.01%", "the least that can go are")])
def test_a_share_that_cannot_be_is_refused_before_anything_is_done(tiny: Any, tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(UserError, match=f"--with-channel-pruning '?{given}'?.*{message}"):
        run(tiny.checkpoint, tiny.choice, tmp_path / "work", SETTINGS.model_copy(update={"with_channel_pruning": given}), device="cpu")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("align", "wide"), [({"rank": 12, "lora_targets": ("qkv",)}, 8), ({"rank": 9, "lora_targets": ("fc2",)}, 8)])
def test_a_start_that_pruned_layers_may_not_take_is_refused_before_anything_is_done(tiny: Any, tmp_path: Path, align: dict[str, Any],
                                                                                    wide: int) -> None:
    settings = SETTINGS.model_copy(update={"align": AlignSettings(lora_init="pissa", **align)})
    with pytest.raises(UserError, match=f"cannot start pissa where a layer is {wide} wide.*Give --rank {wide} or less"):
        run(tiny.checkpoint, tiny.choice, tmp_path / "work", settings, device="cpu")
    assert not (tmp_path / "work").exists()


def test_importance_means_nothing_without_pruning(tiny: Any, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"with_channel_pruning": None, "importance": "taylor"})
    with pytest.raises(UserError, match="--importance means nothing without --with-channel-pruning"):
        run(tiny.checkpoint, tiny.choice, tmp_path / "work", settings, device="cpu")


def test_the_report_tells_of_it(done: dict[str, Any]) -> None:
    findings = gather_run(Path(done["work_dir"]))
    assert [step.model.name for step in findings.steps] == ["drop 1", "pruning"]
    written = render(findings)
    assert "--with-channel-pruning 10%" in written
    assert f"{100 * done['steps'][1]['pruned']:.1f} % of the multiply-adds pruned from the rest" in written
    assert [step.model.name for step in gather_checkpoint(Path(done["output"])).steps] == ["drop 1", "pruning"]


def test_pruning_may_reach_the_latency_that_drops_do_not(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = iter([10, 9, 8, 7, 5])

    def measure(*arguments: object) -> LatencyPair:
        pair = [Latency(median, median, median, 1, "cpu") for median in (10, next(order))]
        return LatencyPair(*pair, Ratio.of(*([one.median] for one in pair)))

    monkeypatch.setattr(run_steps, "measure_pair", measure)
    settings = SETTINGS.model_copy(update={"target": "6ms", "with_channel_pruning": "4%", "align": AlignSettings(heal="none")})
    result = run(tiny.checkpoint, tiny.choice, tmp_path / "work", settings, device="cpu").to_json()
    assert result["final"]["latency_ms"] == 5
    assert result["stopped_because"].startswith("the target is met: a window takes 5.0 ms with 1 block; kept is the model without blocks")


def test_more_than_is_left_takes_what_there_is(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_steps, "prunable", lambda *given: Prunable({"attention": 0.0, "mlp": 0.05 * given[2].total}, 0.0))
    notes = Notes()
    result = run(tiny.checkpoint, tiny.choice, tmp_path / "work", SETTINGS.model_copy(update={"align": AlignSettings(epochs=0)}), device="cpu",
                 reporter=notes).to_json()
    assert result["steps"][1]["pruned"] < 0.06
    assert "5.0% go, which is all that may" in " ".join(notes.lines)


def test_of_a_half_that_is_dropped_the_other_one_can_be_pruned(tiny: Any, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"unit": "attention", "target": "3", "with_channel_pruning": "15%"})
    inputs = open_inputs(tiny.checkpoint, tiny.choice, settings, "cpu", Notes())
    assert inputs.budget.count == 3
    with pytest.raises(UserError, match="can be pruned from the blocks"):
        open_inputs(tiny.checkpoint, tiny.choice, settings.model_copy(update={"unit": "block"}), "cpu", Notes())


def test_a_head_start_alone_does_not_heal_pruning_so_nothing_is_asked_of_it() -> None:
    settings = RunSettings(tolerance=1, align=AlignSettings(init="linear", heal="none"))
    assert not is_back(settings, False, 40, 50)
    assert is_back(settings, True, 40, 50)


def test_what_is_pruned_is_the_last_good_model(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_steps, "evaluate_detector",
                        lambda opened, *rest, **more: scored(0.0 if len(opened.detector.blocks.indices) == 2 else 50.0))
    settings = SETTINGS.model_copy(update={"target": "2", "tolerance": 2.0, "with_channel_pruning": "5%", "align": AlignSettings(epochs=0)})
    result = run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu").to_json()
    assert [(step["blocks"], step["kept"]) for step in result["steps"]] == [(3, True), (2, False), (3, True)]
    assert load_checkpoint(result["output"]).dropped == [result["steps"][0]["dropped"]]


def test_settings_of_a_run_reach_its_stages(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    for name in ("select_opened", "prune_opened"):
        real = getattr(run_steps, name)

        def spy(*given: Any, real: Any = real, **more: Any) -> Any:
            seen.extend(item for item in given if isinstance(item, SelectOptions | PruneSettings))
            return real(*given, **more)

        monkeypatch.setattr(run_steps, name, spy)
    settings = SETTINGS.model_copy(update={"target": "2", "schedule": "one-shot", "importance": "taylor", "align": AlignSettings(epochs=0)})
    run(tiny.checkpoint, tiny.choice, tmp_path, settings, device="cpu")
    selected, pruned = seen
    assert (selected.metric, selected.top, selected.span) == ("cosine", 2, 1)
    assert pruned.importance == "taylor"
