from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.errors import UserError
from tadshrink.stages.drop import drop
from tadshrink.stages.select import select

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


def test_low_rank_updates_are_merged_first(chain, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"aligned\.pth: its LoRA is not merged yet\. First: tadshrink merge"):
        drop(chain.aligned, tmp_path / "a.pth", [0])
    assert not list(tmp_path.iterdir())


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


def test_halves_of_blocks(tiny, tmp_path: Path) -> None:
    result = drop(tiny.checkpoint, tmp_path / "a.pth", ["2.mlp", 0])
    assert (result.dropped, result.remaining, result.now) == (["2.mlp", 0], [1, "2.attention", 3], ["2.mlp", 0])
    after = load_checkpoint(tmp_path / "a.pth")
    names = {name.removeprefix(f"{BLOCKS}2.").split(".")[0] for name in after.state if name.startswith(f"{BLOCKS}2.")}
    assert names == {"norm1", "attn"}
    assert tiny.opened(tmp_path / "a.pth").detector.blocks.left == {1: ("attention", "mlp"), 2: ("attention",), 3: ("attention", "mlp")}
    # What is left of a block goes under its name or under that of the half.
    for number, unit in enumerate((2, "2.attention")):
        rest = drop(tmp_path / "a.pth", tmp_path / f"{number}.pth", [unit])
        assert (rest.dropped, rest.remaining) == ([0, 2], [1, 3])
        assert indices(load_checkpoint(tmp_path / f"{number}.pth")) == {1, 3}
    with pytest.raises(UserError, match=r"no block 2\.mlp\. The remaining blocks are 1, 2\.attention, 3"):
        drop(tmp_path / "a.pth", tmp_path / "c.pth", ["2.mlp"])


@pytest.mark.parametrize(("options", "arguments", "expected"), [
    ({"unit": "mlp"}, {}, 1), ({"unit": "attention"}, {"count": 2}, 2), ({"span": 2}, {}, 2), ({"span": 3}, {"span": 3}, 3),
    ({"unit": "attention", "span": 2}, {"count": 1}, 2),
])
def test_the_best_of_any_ranking_goes(tiny, tmp_path: Path, options: dict, arguments: dict, expected: int) -> None:
    ranking = select(tiny.checkpoint, tiny.choice, tmp_path / "r.pth", SelectOptions(metric="cosine", **options), device="cpu").ranking
    result = drop(tmp_path / "r.pth", tmp_path / "a.pth", **arguments)
    best = [unit for item in ranking.candidates for unit in item.units][:expected]
    assert result.now == best
    assert len(result.now) == expected
    assert tiny.opened(tmp_path / "a.pth").checkpoint.dropped == best


@pytest.mark.parametrize(("options", "arguments", "problem"), [
    ({}, {"span": 2}, "the checkpoint's ranking is of single blocks. Run tadshrink select again, with --span 2"),
    ({"span": 2}, {"span": 3}, "ranking is of runs of 2 blocks. Run tadshrink select again, with --span 3"),
    ({"span": 2}, {"count": 2}, "ranking is of runs of 2 blocks. Run tadshrink select again, without --span"),
    ({"unit": "mlp"}, {"count": 4}, "cannot drop 4 of 4 MLP halves"),
])
def test_what_does_not_fit_the_ranking_is_refused(tiny, tmp_path: Path, options: dict, arguments: dict, problem: str) -> None:
    select(tiny.checkpoint, tiny.choice, tmp_path / "r.pth", SelectOptions(metric="cosine", **options), device="cpu")
    with pytest.raises(UserError, match=problem):
        drop(tmp_path / "r.pth", tmp_path / "a.pth", **arguments)


def test_those_who_lost_the_race_are_not_dropped_by_number(chain, tmp_path: Path) -> None:
    source = load_checkpoint(chain.ranked)
    raced = [{**item, "stopped": None if place < 2 else "bound"} for place, item in enumerate(source.ranking["ranking"])]
    save_checkpoint(tmp_path / "r.pth", replace(source, ranking={**source.ranking, "ranking": raced}))
    assert len(drop(tmp_path / "r.pth", tmp_path / "a.pth", count=2).now) == 2
    with pytest.raises(UserError, match=r"the race for the ranking was for 2 of the blocks, not 3\. Run tadshrink select again, with --top 3"):
        drop(tmp_path / "r.pth", tmp_path / "a.pth", count=3)
