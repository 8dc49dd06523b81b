from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.errors import UserError
from tadshrink.stages.drop import drop

BLOCKS = "backbone.model.backbone.blocks."


def indices(checkpoint: Checkpoint) -> set[int]:
    return {int(name.removeprefix(BLOCKS).split(".")[0]) for name in checkpoint.state if name.startswith(BLOCKS)}


def test_survivors_keep_their_indices_and_weights(tiny, tmp_path: Path) -> None:
    result = drop(tiny.checkpoint, tmp_path / "a.pth", [2, 0])
    before, after = load_checkpoint(tiny.checkpoint), load_checkpoint(tmp_path / "a.pth")
    assert (result.dropped, result.remaining) == ([2, 0], [1, 3])
    assert after.dropped == [2, 0]
    assert indices(after) == {1, 3}
    assert len(after.state) == len(before.state) - sum(name.startswith((f"{BLOCKS}0.", f"{BLOCKS}2.")) for name in before.state)
    assert all(value.equal(before.state[name]) for name, value in after.state.items())
    assert tiny.opened(tmp_path / "a.pth").detector.blocks.indices == (1, 3)


def test_a_second_drop_goes_on_with_the_original_indices(tiny, tmp_path: Path) -> None:
    drop(tiny.checkpoint, tmp_path / "a.pth", [1])
    result = drop(tmp_path / "a.pth", tmp_path / "b.pth", [3])
    assert (result.dropped, result.remaining) == ([1, 3], [0, 2])
    assert indices(load_checkpoint(tmp_path / "b.pth")) == {0, 2}
    with pytest.raises(UserError, match=r"no block 1\. The remaining blocks are 0, 2"):
        drop(tmp_path / "b.pth", tmp_path / "c.pth", [1])


@pytest.mark.parametrize("count", [None, 1, 3])
def test_the_best_ranked_blocks_go_and_the_ranking_with_them(chain, tmp_path: Path, count: int | None) -> None:
    order = [item["block"] for item in load_checkpoint(chain.ranked).ranking["ranking"]]
    result = drop(chain.ranked, tmp_path / "a.pth", count=count)
    assert result.dropped == order[:count or 1]
    assert load_checkpoint(tmp_path / "a.pth").ranking is None


def test_history_says_what_was_done(chain, tmp_path: Path) -> None:
    source = load_checkpoint(chain.ranked)
    result = drop(chain.ranked, tmp_path / "a.pth")
    entry = load_checkpoint(tmp_path / "a.pth").history[-1]
    assert (entry["command"], entry["parent"]) == ("drop", source.checksum)
    assert entry["arguments"] == {"blocks": None, "count": 1}
    assert entry["metrics"] == {"dropped": result.dropped}


def test_asking_for_one_block_or_not_saying_how_many_gives_the_same_file(chain, tmp_path: Path) -> None:
    drop(chain.ranked, tmp_path / "a.pth")
    drop(chain.ranked, tmp_path / "b.pth", count=1)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_low_rank_updates_of_the_block_go_too(tiny, chain, tmp_path: Path) -> None:
    kept = [block for block in range(4) if block not in load_checkpoint(chain.aligned).dropped]
    drop(chain.aligned, tmp_path / "a.pth", [kept[0]])
    after = load_checkpoint(tmp_path / "a.pth")
    assert {int(name.removeprefix(BLOCKS).split(".")[0]) for name in after.lora["state"]} == set(kept[1:])
    assert tiny.opened(tmp_path / "a.pth").detector.blocks.indices == tuple(kept[1:])


@pytest.mark.parametrize(("arguments", "problem"), [
    ({"blocks": [4]}, r"no block 4\. The remaining blocks are 0, 1, 2, 3"),
    ({"blocks": [-1, 7]}, "no block -1, 7"),
    ({"blocks": [1, 1]}, "name each block once"),
    ({"blocks": []}, "name each block once, and at least one"),
    ({"blocks": [0, 1, 2, 3]}, "dropping 4 of 4 blocks leaves none"),
    ({"count": 0}, "cannot drop 0 of 4 blocks"),
    ({"count": 4}, "cannot drop 4 of 4 blocks"),
])
def test_nonsense_is_refused_in_one_line_and_nothing_is_written(chain, tmp_path: Path, arguments: dict, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as error:
        drop(chain.ranked, tmp_path / "a.pth", **arguments)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_without_a_ranking_blocks_must_be_named(tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no ranking\. Run tadshrink select first, or name blocks"):
        drop(tiny.checkpoint, tmp_path / "a.pth")


def test_a_ranking_of_other_blocks_is_refused(chain, tmp_path: Path) -> None:
    source = load_checkpoint(chain.ranked)
    save_checkpoint(tmp_path / "a.pth", replace(source, ranking={**source.ranking, "ranking": source.ranking["ranking"][1:]}))
    with pytest.raises(UserError, match="not of the blocks that it has"):
        drop(tmp_path / "a.pth", tmp_path / "b.pth")
