from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.errors import UserError
from tadshrink.stages import select as module
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
    assert ranked.history == [{
        "command": "select", "arguments": {"dataset": str(tiny.yaml), "root": None, "metric": "mse", "split": "heldout"},
        "version": ranked.history[0]["version"], "parent": source.checksum, "metrics": {"best": ranked.ranking["ranking"][0]["block"]}}]


def test_result_as_json(tiny, tmp_path: Path) -> None:
    result = select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", "loss", "testing", device="cpu").to_json()
    assert result.keys() == {"output", "checksum", "metric", "baseline", "ranking", "seconds"}
    assert result["checksum"] == load_checkpoint(tmp_path / "a.pth").checksum
    assert result["ranking"] == load_checkpoint(tmp_path / "a.pth").ranking["ranking"]
    assert result["seconds"] > 0


def test_the_default_metric_is_map_on_the_held_out_videos(tiny, tmp_path: Path) -> None:
    assert select(tiny.checkpoint, tiny.choice, tmp_path / "a.pth", device="cpu").ranking.metric == "map"
    assert load_checkpoint(tmp_path / "a.pth").history[-1]["arguments"]["split"] == "heldout"


@pytest.mark.parametrize(("arguments", "problem"), [
    ({"metric": "f1"}, "unknown metric"),
    ({"split": "nosuch"}, "split 'nosuch' has no videos"),
    ({"output": "base.pth/a.pth"}, "cannot write here"),
])
def test_bad_input_is_found_before_the_work(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict, problem: str) -> None:
    if "split" not in arguments:
        monkeypatch.setattr(module, "rank_blocks", None)
    (tmp_path / "base.pth").write_bytes(b"")
    output = tmp_path / arguments.pop("output", "a.pth")
    with pytest.raises(UserError, match=problem):
        select(tiny.checkpoint, tiny.choice, output, **arguments, device="cpu")
    assert [item.name for item in tmp_path.iterdir()] == ["base.pth"]
