from __future__ import annotations

import pytest
import torch

from tadshrink.compress import pruning
from tadshrink.compress.pruning import (
    Places,
    at_random,
    by_magnitude,
    by_taylor,
    choose,
    cut,
    kept_sizes,
    places,
    silenced,
    unit_costs,
)
from tadshrink.errors import UserError
from tadshrink.models.blocks import Cut
from tadshrink.models.body import narrowed
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector, build_detector
from tadshrink.profiling.macs import detector_macs
from tadshrink.profiling.windows import example_window
from tests.profiling.models import FEATURES, VIDEO

pytestmark = pytest.mark.usefixtures("counted_once")
WIDE = VIDEO.model_copy(update={"backbone": VIDEO.backbone.model_copy(update={"width": 16, "heads": 4})})
STEM = FEATURES.model_copy(update={"head": FEATURES.head.model_copy(update={"width": 16, "heads": 4, "mlp_ratio": 2})})
#: By name: a configuration and what was dropped before.
CASES = {"video": (WIDE, ()), "without a block and a half": (WIDE, (2, "1.mlp")), "features": (STEM, ())}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "TOGETHER", 2)


def made(config: DetectorConfig, dropped: tuple[int | str, ...]) -> Detector:
    torch.manual_seed(0)
    detector = Detector(config, dropped).eval()
    for value in detector.parameters():
        value.data.normal_(0, 0.3)
    return detector


def found(detector: Detector) -> dict[tuple[int, str], Places]:
    return places(detector, detector.state_dict())


def test_what_belongs_to_a_head_is_found_wherever_it_lies() -> None:
    weight = torch.arange(12.0).view(12, 1)
    item = Places("", (Cut("qkv", repeats=3), Cut("proj", axis=1)), count=2, size=2)
    assert item.grouped(item.cuts[0], weight).tolist() == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]
    assert item.taken(item.cuts[0], weight, torch.tensor([1])).flatten().tolist() == [2, 3, 6, 7, 10, 11]
    out = torch.arange(8.0).view(2, 4)
    assert item.grouped(item.cuts[1], out).tolist() == [[0, 4, 1, 5], [2, 6, 3, 7]]
    assert item.taken(item.cuts[1], out, torch.tensor([1])).tolist() == [[2, 3], [6, 7]]


@pytest.mark.parametrize(("config", "dropped"), CASES.values(), ids=CASES)
@torch.inference_mode()
def test_pruned_outputs_are_those_with_the_same_set_to_zero(config: DetectorConfig, dropped: tuple[int | str, ...]) -> None:
    detector = made(config, dropped)
    state, where, report = detector.state_dict(), found(detector), detector_macs(detector)
    plan = choose(by_magnitude(where, state), unit_costs(detector, where, report), report.total, 0.2 * report.total)
    narrow = narrowed(detector.body, config, kept_sizes(detector, plan))
    small = build_detector(narrow, cut(state, where, plan), dropped, "test")
    silent = build_detector(config, silenced(state, where, plan), dropped, "test")
    window = example_window(config)
    ours, theirs, before = (model(*window) for model in (small, silent, detector))
    torch.testing.assert_close(ours.logits(), theirs.logits(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.features, theirs.features, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours.features, before.features, atol=1e-2)
    # What is counted is what the tensors are.
    after = detector_macs(small)
    assert report.total - after.total == pytest.approx(plan.removed)
    assert plan.removed == pytest.approx(0.2 * report.total, rel=0.1)
    assert sum(value.numel() for value in small.parameters()) < sum(value.numel() for value in detector.parameters())
    for index, halves in small.blocks.left.items():
        heads, hidden = getattr(narrow, detector.body.part).kept[index]
        block = small.blocks[index]
        if "attention" in halves:
            assert block.attn.heads == heads
            assert block.attn.proj.weight.shape[1] == 4 * heads
        if "mlp" in halves:
            assert (block.mlp.layers[1] if config is WIDE else block.mlp[3]).weight.shape[1] == hidden


def test_a_small_share_takes_what_is_small_enough_whatever_goes_first() -> None:
    detector = made(WIDE, ())
    report = detector_macs(detector)
    costs = unit_costs(detector, found(detector), report)
    # Heads are the weakest, and cost more than is wanted.
    scores = {(index, half): torch.arange(1.0, count + 1).double() ** (3 if half == "attention" else 1)
              for index in range(4) for half, count in (("attention", 4), ("mlp", 64))}
    head, hidden = costs[0, "attention"], costs[0, "mlp"] * pruning.TOGETHER
    assert hidden < head / 2
    plan = choose(scores, costs, report.total, hidden)
    assert plan.removed == pytest.approx(hidden, rel=0.01)
    with pytest.raises(UserError, match=f"the least that can go are {hidden / report.total:.3%}"):
        choose(scores, costs, report.total, hidden / 3)


def test_what_is_too_large_makes_room_for_others_while_much_is_missing() -> None:
    # In order of their scores: hidden units worth 1, a head worth 10, hidden units worth 1 each.
    scores = {(0, "mlp"): torch.arange(1.0, 8 * pruning.TOGETHER + 1).double(), (0, "attention"): torch.tensor([10.0, 50.0]).double()}
    costs = {(0, "mlp"): 1 / pruning.TOGETHER, (0, "attention"): 10.0}
    assert choose(scores, costs, 1000, 4.0).removed == 4
    # What is nearly enough is left at that: the order of the scores counts for more.
    assert choose(scores, costs, 1000, 1.04).removed == 1


def test_the_weakest_beside_the_others_of_their_block_go_first() -> None:
    detector = made(WIDE, ())
    report = detector_macs(detector)
    # A block whose weights are all small keeps as much as the others.
    scores = {(index, half): torch.arange(1.0, count + 1).double() * (0.01 if index == 3 else 1)
              for index in range(4) for half, count in (("attention", 4), ("mlp", 64))}
    plan = choose(scores, unit_costs(detector, found(detector), report), report.total, 0.1 * report.total)
    gone = {key: sorted(set(range(len(values))) - set(plan.stays[key].tolist())) for key, values in scores.items()}
    lost = [len(gone[index, "mlp"]) for index in range(4)]
    assert min(lost) > 0 and max(lost) - min(lost) <= pruning.TOGETHER
    assert all(numbers == list(range(len(numbers))) for numbers in gone.values())
    assert max(map(len, gone.values())) > 0


def test_one_head_and_a_few_hidden_units_always_stay() -> None:
    detector = made(WIDE, ())
    report, where = detector_macs(detector), found(detector)
    scores, costs = at_random(where, 0), unit_costs(detector, where, report)
    with pytest.raises(UserError, match="cannot be pruned: all that may go are"):
        choose(scores, costs, report.total, 0.99 * report.total)
    with pytest.raises(UserError, match="nothing would be pruned"):
        choose(scores, costs, report.total, 1e-6 * report.total)
    # All that may go, and no more.
    most = sum(pruning.prunable(detector, detector.state_dict(), report).most.values())
    least = choose(scores, costs, report.total, most)
    assert least.removed == pytest.approx(most)
    assert {len(numbers) for (_, half), numbers in least.stays.items() if half == "attention"} == {1}
    assert {len(numbers) for (_, half), numbers in least.stays.items() if half == "mlp"} == {2}
    blocks = sum(report.per_half["attention"]) + sum(report.per_half["mlp"])
    plan = choose(scores, costs, report.total, 0.7 * blocks)
    assert min(map(len, plan.stays.values())) >= 1
    assert min(len(numbers) for (_, half), numbers in plan.stays.items() if half == "mlp") >= 2


def test_scores() -> None:
    item = Places("b.", (Cut("in"), Cut("out", axis=1)), count=2, size=1)
    state = {"b.in": torch.tensor([[3.0], [1.0]]), "b.out": torch.tensor([[4.0, 0.0]])}
    where = {(0, "mlp"): item}
    assert by_magnitude(where, state)[0, "mlp"].tolist() == [5, 1]
    products = {"b.in": torch.tensor([[1.0], [2.0]]), "b.out": torch.tensor([[0.5, 7.0]])}
    assert by_taylor(where, products)[0, "mlp"].tolist() == [1.5, 9]
    assert at_random(where, 1)[0, "mlp"].tolist() == at_random(where, 1)[0, "mlp"].tolist() != at_random(where, 2)[0, "mlp"].tolist()


@pytest.mark.parametrize(("count", "size", "groups", "stay"), [
    (64, 8, 7, 8), (60, 8, 6, 12), (20, 8, 1, 12), (15, 8, 0, 15), (8, 8, 0, 8), (4, 1, 3, 1), (1, 1, 0, 1),
])
def test_a_whole_group_always_stays(count: int, size: int, groups: int, stay: int) -> None:
    firsts = pruning._firsts(count, size)
    assert (len(firsts), count - size * len(firsts)) == (groups, stay)
