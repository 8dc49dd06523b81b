from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.compress import journal
from tadshrink.compress.select_settings import METRICS, SelectOptions
from tadshrink.errors import UserError
from tadshrink.stages import select as module
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.select import select


def test_the_ranking_is_stored_in_a_copy_with_the_same_weights(tiny, chain) -> None:
    before, after = load_checkpoint(tiny.checkpoint), load_checkpoint(chain.ranked)
    assert after.checksum == before.checksum
    assert before.ranking is None
    assert after.ranking["metric"] == "mse"
    assert sorted(item["block"] for item in after.ranking["ranking"]) == [0, 1, 2, 3]
    scores = [item["score"] for item in after.ranking["ranking"]]
    assert scores == sorted(scores)


def test_history_says_what_was_done(tiny, chain) -> None:
    source, ranked = load_checkpoint(tiny.checkpoint), load_checkpoint(chain.ranked)
    options = SelectOptions(metric="mse").model_dump(mode="json")
    assert ranked.history == [{
        "command": "select", "arguments": {"dataset": str(tiny.yaml), "root": None, "split": "heldout", **options},
        "version": ranked.history[0]["version"], "parent": source.checksum, "metrics": {"best": ranked.ranking["ranking"][0]["block"]}}]


def test_result_as_json(tiny, tmp_path: Path) -> None:
    result = select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", SelectOptions(metric="loss"), "training", device="cpu").to_json()
    assert result.keys() == {"output", "checksum", "metric", "baseline", "ranking", "seconds"}
    assert result["checksum"] == load_checkpoint(tmp_path / "a.pth").checksum
    assert result["ranking"] == load_checkpoint(tmp_path / "a.pth").ranking["ranking"]
    assert result["seconds"] > 0


def test_the_default_metric_is_map_on_the_held_out_videos(tiny, tmp_path: Path) -> None:
    assert select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", device="cpu").ranking.metric == "map"
    assert load_checkpoint(tmp_path / "a.pth").history[-1]["arguments"]["split"] == "heldout"


@pytest.mark.parametrize(("arguments", "problem"), [
    ({"split": "nosuch"}, "split 'nosuch' has no videos"),
    ({"split": "testing"}, "split 'testing' is what models are judged on"),
    ({"split": "test"}, "split 'test' is what models are judged on"),
    ({"output": "base.pth/a.pth"}, "cannot write here"),
])
def test_bad_input_is_found_before_the_work(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict, problem: str) -> None:
    if "split" not in arguments:
        monkeypatch.setattr(module, "rank_units", None)
    (tmp_path / "base.pth").write_bytes(b"")
    output = tmp_path / arguments.pop("output", "a.pth")
    with pytest.raises(UserError, match=problem):
        select(tiny.checkpoint, tiny.choice, output, **arguments, device="cpu")
    assert [item.name for item in tmp_path.iterdir()] == ["base.pth"]


def test_metrics_are_compared(tiny, tmp_path: Path) -> None:
    options = SelectOptions(metric="mse", compare="all")
    result = select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", options, device="cpu").to_json()
    assert load_checkpoint(tmp_path / "a.pth").ranking["metric"] == "mse"
    assert list(result["others"]) == [name for name in METRICS if name != "mse"]
    pairs = {(first, second): tau for first, second, tau in result["kendall_tau"]}
    assert len(pairs) == 6 * 5 / 2
    assert all(-1 <= tau <= 1 for tau in pairs.values() if tau is not None)
    orders = {name: [item["block"] for item in ranking["ranking"]] for name, ranking in result["others"].items()}
    if orders["cosine"] == orders["taylor"]:
        assert pairs["cosine", "taylor"] == 1
    assert all(ranking["seconds"] > 0 for ranking in result["others"].values())
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.pth"]


def test_an_interrupted_selection_goes_on(tiny, tmp_path: Path, interrupt) -> None:
    options = SelectOptions(metric="loss", batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", options, "heldout", "cpu", interrupt("select", 11))
    assert [item.name for item in tmp_path.iterdir()] == ["a.pth.loss.selecting"]
    windows = []

    class Counts(interrupt):
        def track(self, description: str, total: int):  # type: ignore[no-untyped-def]
            windows.append(total)
            return super().track(description, total)

    select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", options, "heldout", "cpu", Counts())
    select(tiny.checkpoint, tiny.choice, tmp_path / "b.pth", options, "heldout", "cpu", Counts())
    assert windows[0] < windows[1]
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.pth", "b.pth"]


@pytest.mark.parametrize("change", ["split", "dataset"])
def test_what_was_found_on_other_videos_is_not_taken(tiny, tmp_path: Path, interrupt, change: str) -> None:
    data = yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder)}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(data))
    given = (tiny.checkpoint, DatasetChoice(str(tmp_path / "d.yaml")), tmp_path / "a.pth", SelectOptions(metric="loss", batch_size=1))
    with pytest.raises(KeyboardInterrupt):
        select(*given, "heldout", "cpu", interrupt("select", 11))
    if change == "dataset":
        (tmp_path / "d.yaml").write_text(yaml.safe_dump(data | {"heldout": 0.2}))
    again = interrupt("select", 1)
    with pytest.raises(KeyboardInterrupt):
        select(*given, "train" if change == "split" else "heldout", "cpu", again)
    assert any("starting anew" in note for note in again.notes)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    notes = journal.Journal(tmp_path / "a.pth.loss.selecting", {})
    assert notes.read() == []
    monkeypatch.setattr(journal.os, "fsync", full)
    with pytest.raises(UserError, match=r"loss\.selecting: cannot be written \(No space left on device\)"):
        notes.add(journal.Entry({}, 1.0))


def test_what_another_model_had_found_is_not_taken(tiny, tmp_path: Path, interrupt) -> None:
    options = SelectOptions(metric="loss", batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", options, "heldout", "cpu", interrupt("select", 11))
    (tmp_path / "a.pth.mse.selecting").write_bytes((tmp_path / "a.pth.loss.selecting").read_bytes())
    mse = SelectOptions(metric="mse", batch_size=1)
    select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", mse, "heldout", "cpu")
    select(tiny.checkpoint, tiny.choice, tmp_path / "b.pth", mse, "heldout", "cpu")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
