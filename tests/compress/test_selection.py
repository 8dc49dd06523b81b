from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tadshrink.compress.benches import BENCHES
from tadshrink.compress.candidates import WHOLE, Ranking
from tadshrink.compress.journal import Journal
from tadshrink.compress.one_pass import _distances
from tadshrink.compress.passes import leave_out, walk
from tadshrink.compress.select_settings import METRICS, SelectOptions
from tadshrink.compress.selection import _groups, rank_units
from tadshrink.data.datasets import HELDOUT, Dataset
from tadshrink.data.loader import inference_batches
from tadshrink.data.sources import Source, open_source
from tadshrink.device import choose_compute
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import split_videos
from tadshrink.models.config import DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector, build_detector
from tadshrink.models.losses import detection_losses
from tadshrink.models.units import Unit
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.evaluate import evaluate_detector


@pytest.fixture(scope="module")
def source(tiny) -> Source:
    return open_source(tiny.data, tiny.config.sampling)


def rank(tiny, source: Source, metric: str, detector: Detector | None = None, split: str = HELDOUT, journal: Journal | None = None,
         reporter: Reporter = SILENT, **options: object) -> Ranking:
    chosen = SelectOptions(metric=metric, **options)
    return rank_units(detector or tiny.opened().detector, tiny.data, split, chosen, source, choose_compute("cpu", 1), journal, reporter)


def without(detector: Detector, *units: Unit) -> Detector:
    """The plain way: a detector that was built without these units."""
    kept = Detector(detector.config, units).state_dict().keys()
    state = {name: value for name, value in detector.state_dict().items() if name in kept}
    return build_detector(detector.config, state, units, "test")


def windows(tiny, source: Source) -> Iterator[tuple[Tensor, Tensor, list]]:
    return inference_batches(split_videos(tiny.data, HELDOUT), source, 8)


def make_useless(detector: Detector, *blocks: int) -> Detector:
    """Blocks that add nothing to the tokens."""
    for index in blocks:
        block = detector.blocks[index]
        for layer in (block.attn.proj, block.mlp.layers[1]):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    return detector


KEYS = {
    "blocks": [(0,), (1,), (2,), (3,)],
    "halves": [("0.attention",), ("0.mlp",), ("3.attention",), ("3.mlp",)],
    "spans": [(0, 1), (2, 3), ("1.attention", "2.attention"), (0, 1, 2)],
}


@torch.inference_mode()
@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_leaving_out_is_bit_for_bit_a_detector_built_without_the_units(tiny, source: Source, keys: Sequence[tuple[Unit, ...]]) -> None:
    detector = tiny.opened().detector
    inputs, masks, _ = next(windows(tiny, source))
    features = leave_out(detector, inputs, masks, keys)
    assert set(features) == {*keys, WHOLE}
    assert torch.equal(features[WHOLE], detector.backbone(inputs))
    for key in keys:
        assert torch.equal(features[key], without(detector, *key).backbone(inputs)), key


@torch.inference_mode()
def test_leaving_out_of_a_model_that_has_lost_units_already(tiny, source: Source) -> None:
    detector = without(tiny.opened().detector, 1, "2.mlp")
    inputs, masks, _ = next(windows(tiny, source))
    features = leave_out(detector, inputs, masks, [(0,), (2,), ("2.attention",)])
    assert torch.equal(features[2,], without(tiny.opened().detector, 1, 2).backbone(inputs))
    assert torch.equal(features["2.attention",], features[2,])
    assert torch.equal(features[0,], without(tiny.opened().detector, 0, 1, "2.mlp").backbone(inputs))


@pytest.mark.parametrize(("unit", "span"), [("block", 1), ("attention", 1), ("mlp", 2)])
def test_map_of_each_candidate_is_that_of_the_whole_model_run_without_it(tiny, source: Source, unit: str, span: int) -> None:
    opened = tiny.opened()
    ranking = rank(tiny, source, "map", unit=unit, span=span)
    naive = {item.units: evaluate_detector(replace(opened, detector=without(opened.detector, *item.units)), tiny.data, HELDOUT, source).average
             for item in ranking.candidates}
    assert len(naive) == 5 - span
    assert {item.units: item.score for item in ranking.candidates} == naive
    assert ranking.baseline == evaluate_detector(opened, tiny.data, HELDOUT, source).average
    assert all(item.change == item.score - ranking.baseline for item in ranking.candidates)


def test_map_is_by_the_rule_overlaps_and_ambiguous_regions_of_the_dataset(tiny, source: Source) -> None:
    opened, compute = tiny.opened(), choose_compute("cpu", 1)
    config = tiny.data.config.model_copy(update={"rule": "thumos14", "tiou": [0.1, 0.2]})
    records = tuple(replace(record, ambiguous=((0.0, 3.0),)) for record in tiny.data.records)
    found, other = {}, replace(tiny.data, config=config)
    for name, data in {"other overlaps": other, "regions": replace(other, records=records)}.items():
        ranking = rank_units(opened.detector, data, HELDOUT, SelectOptions(metric="map"), source, compute)
        naive = {item.units: evaluate_detector(replace(opened, detector=without(opened.detector, *item.units)), data, HELDOUT, source).average
                 for item in ranking.candidates}
        found[name] = {item.units: item.score for item in ranking.candidates}
        assert found[name] == naive
    usual = {item.units: item.score for item in rank(tiny, source, "map").candidates}
    assert usual != found["other overlaps"] != found["regions"]


@torch.inference_mode()
@pytest.mark.parametrize("batch_size", [1, 8])
def test_loss_of_each_candidate_is_the_mean_detection_loss_over_windows(tiny, source: Source, batch_size: int) -> None:
    ranking = rank(tiny, source, "loss", batch_size=batch_size)
    detector = without(tiny.opened().detector, 2)
    total, count = 0.0, 0
    records = {record.name: record for record in tiny.data.records}
    for inputs, masks, places in inference_batches(split_videos(tiny.data, HELDOUT), source, 1):
        # A cell is 4 frames of 1/8 s.
        first = places[0].start_frame / 4
        inside = [((max(action.start * 2 - first, 0), min(action.end * 2 - first, 16)), tiny.config.classes.index(action.label))
                  for action in records[places[0].video].actions if action.end * 2 > first and action.start * 2 < first + 16]
        segments, labels = torch.tensor([pair[0] for pair in inside]).view(-1, 2), torch.tensor([pair[1] for pair in inside])
        output = detector(inputs, masks)
        total += detection_losses(output, [segments], [labels], torch.tensor(1.0), tiny.config.head, training=False).total.item()
        count += 1
    assert next(item.score for item in ranking.candidates if item.block == 2) == pytest.approx(total / count, rel=1e-6)


@torch.inference_mode()
def test_mse_of_each_candidate_is_that_of_the_features(tiny, source: Source) -> None:
    detector = tiny.opened().detector
    ranking = rank(tiny, source, "mse")
    assert ranking.baseline == 0
    inputs = torch.cat([batch[0] for batch in windows(tiny, source)])
    for item in ranking.candidates:
        naive = (without(detector, item.block).backbone(inputs) - detector.backbone(inputs)).square().mean().item()
        assert item.score == pytest.approx(naive, rel=1e-4)
        assert item.change == item.score


@torch.inference_mode()
@pytest.mark.parametrize(("unit", "span"), [("block", 1), ("block", 2), ("attention", 1), ("mlp", 1)])
def test_cosine_is_between_what_goes_in_and_what_comes_out(tiny, source: Source, unit: str, span: int) -> None:
    detector = tiny.opened().detector
    ranking = rank(tiny, source, "cosine", unit=unit, span=span)
    inputs = torch.cat([batch[0] for batch in windows(tiny, source)])
    # Per block: what goes in, after the attention, what comes out.
    states, tokens = [], detector.embed(inputs, torch.ones(len(inputs), 16, dtype=torch.bool))
    for block in detector.blocks:
        middle = tokens + block.attn(block.norm1(tokens))
        after = middle + block.mlp.layers(block.norm2(middle))
        states.append((tokens, middle, after))
        tokens = after
    begin, end = {"block": (0, 2), "attention": (0, 1), "mlp": (1, 2)}[unit]
    expected = {first: 1 - F.cosine_similarity(states[first][begin], states[first + span - 1][end], dim=-1).mean().item()
                for first in range(5 - span)}
    found = {int(str(item.block)[0]): item.score for item in ranking.candidates}
    assert found == pytest.approx(expected, rel=1e-4)
    assert (ranking.baseline, {item.change for item in ranking.candidates}) == (None, {None})


@pytest.mark.parametrize(("metric", "forwards"), [("cosine", 4), ("taylor", 4), ("random", 0), ("map", 4 + 3 + 2 + 1)])
def test_block_forwards_of_one_batch(tiny, source: Source, metric: str, forwards: int) -> None:
    detector, calls = tiny.opened().detector, []
    for block in detector.blocks:
        # Copies of the detector have it, too.
        block.register_forward_hook(lambda *call: calls.append(call))
    rank(tiny, source, metric, detector, batch_size=100)
    assert len(calls) == forwards


def test_taylor_is_the_sum_of_weight_times_gradient(tiny, source: Source) -> None:
    detector = tiny.opened().detector
    ranking = rank(tiny, source, "taylor", batch_size=100)
    halves = [rank(tiny, source, "taylor", unit=unit, batch_size=100) for unit in ("attention", "mlp")]
    (inputs, masks, places), = inference_batches(split_videos(tiny.data, HELDOUT), source, 100)
    from tadshrink.data.actions import ActionGrid

    actions = ActionGrid(tiny.data, HELDOUT, source)
    segments, labels = zip(*[actions.inside(place.video, place.window) for place in places], strict=True)
    detector.requires_grad_(True)
    output = detector(inputs, masks)
    detection_losses(output, list(segments), list(labels), torch.tensor(1.0), tiny.config.head, training=False).total.backward()
    expected = {index: sum((value * value.grad).abs().sum().item() for value in block.parameters())
                for index, block in enumerate(detector.blocks)}
    assert {item.block: item.score for item in ranking.candidates} == pytest.approx(expected, rel=1e-4)
    by_half = {item.block: item.score for half in halves for item in half.candidates}
    for block, score in expected.items():
        assert by_half[f"{block}.attention"] + by_half[f"{block}.mlp"] == pytest.approx(score, rel=1e-4)


def test_random_scores_depend_on_the_seed_and_not_on_what_is_left(tiny, source: Source) -> None:
    detector = tiny.opened().detector
    first, again, other = (rank(tiny, source, "random", detector, seed=seed) for seed in (0, 0, 1))
    assert [item.block for item in first.candidates] == [item.block for item in again.candidates]
    orders = {tuple(item.block for item in rank(tiny, source, "random", detector, seed=seed).candidates) for seed in range(10)}
    assert len(orders) > 3
    rest = rank(tiny, source, "random", without(tiny.opened().detector, first.candidates[0].block), seed=0)
    assert [item.block for item in rest.candidates] == [item.block for item in first.candidates[1:]]
    assert other.candidates != first.candidates


def test_blocks_that_change_nothing_go_first_the_smallest_index_before_the_others(tiny, source: Source) -> None:
    for metric in ("mse", "cosine", "taylor"):
        ranking = rank(tiny, source, metric, make_useless(tiny.opened().detector, 3, 1))
        if metric != "taylor":
            assert [item.block for item in ranking.candidates][:2] == [1, 3]
            assert [item.score for item in ranking.candidates][:2] == pytest.approx([0, 0], abs=1e-6)
            assert ranking.candidates[2].score > 1e-4


def test_the_detector_is_judged_in_eval_mode_and_left_unchanged(tiny, source: Source) -> None:
    opened = tiny.opened()
    before = {name: value.clone() for name, value in opened.detector.state_dict().items()}
    for metric in METRICS:
        trained = rank(tiny, source, metric, opened.detector.train())
        assert trained.candidates == rank(tiny, source, metric).candidates
    assert all(torch.equal(value, before[name]) for name, value in opened.detector.state_dict().items())
    assert all(value.grad is None for value in opened.detector.parameters())


def test_every_metric_has_a_judge_and_a_ranking(tiny, source: Source) -> None:
    assert all(kind.judges.keys() == METRICS.keys() for kind in BENCHES.values())
    for metric in METRICS:
        merits = [item.score * BENCHES[Dataset].judges[metric].sign for item in rank(tiny, source, metric).candidates]
        assert merits == sorted(merits, reverse=True)


def test_what_cannot_be_ranked_is_refused(tiny, source: Source) -> None:
    with pytest.raises(UserError, match=r"a span of 4 leaves none of the 4 blocks"):
        rank(tiny, source, "mse", span=4)
    with pytest.raises(UserError, match="only one block is left"):
        rank(tiny, source, "mse", without(tiny.opened().detector, 0, 1, 2))
    with pytest.raises(UserError, match="only one MLP half is left"):
        rank(tiny, source, "mse", without(tiny.opened().detector, "0.mlp", 1, "2.mlp"), unit="mlp")


class Stops(Reporter):
    """Breaks off after a number of windows."""

    def __init__(self, windows: int) -> None:
        self.left = windows

    def track(self, description: str, total: int):  # type: ignore[no-untyped-def]
        from contextlib import contextmanager

        @contextmanager
        def tracked() -> Iterator:  # type: ignore[type-arg]
            def advance(count: int, text: str) -> None:
                self.left -= count
                if self.left < 0:
                    raise KeyboardInterrupt
            yield advance

        return tracked()


@pytest.mark.parametrize(("metric", "options"), [
    pytest.param("loss", {}, id="full"), pytest.param("map", {"race": True}, id="race", marks=pytest.mark.slow)])
def test_broken_off_it_goes_on_after_the_last_group_and_ends_the_same(tiny, source: Source, tmp_path: Path, metric: str, options: dict) -> None:
    common = {"batch_size": 1, "split": "training", **options}
    straight = rank(tiny, source, metric, **common)
    path, looked = tmp_path / "a.selecting", []
    for after in (12, 0, 12, 10**9):
        looked.append(len(Journal(path, {"what": "this"}).read()))
        try:
            result = rank(tiny, source, metric, journal=Journal(path, {"what": "this"}), reporter=Stops(after), **common)
        except KeyboardInterrupt:
            # As a power cut might leave it.
            with path.open("ab") as file:
                file.write(b"half a li")
    assert looked[0] == 0 < looked[1] == looked[2] < looked[3]
    assert replace(result, seconds=0) == replace(straight, seconds=0)
    assert len(Journal(path, {"what": "that"}).read()) == 0


def test_groups_do_not_change_the_ranking(tiny, source: Source) -> None:
    for metric in ("loss", "mse", "cosine"):
        one, many = (rank(tiny, source, metric, batch_size=size) for size in (1, 64))
        assert [item.block for item in one.candidates] == [item.block for item in many.candidates]
        np.testing.assert_allclose([item.score for item in one.candidates], [item.score for item in many.candidates], rtol=1e-5)


def test_a_race_sees_the_videos_in_an_order_drawn_by_the_seed(tiny, source: Source) -> None:
    videos = split_videos(tiny.data, "training")
    orders = [[video.name for group in _groups(videos, source, SelectOptions(metric="loss", batch_size=1, **options)) for video in group]
              for options in ({}, {"race": True}, {"race": True, "seed": 1}, {"race": True, "seed": 1})]
    assert orders[0] == [video.name for video in videos]
    assert orders[2] == orders[3]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


def test_taylor_sees_low_rank_updates_as_part_of_the_weights(tiny, chain, source: Source) -> None:
    aligned, merged = (tiny.opened(path).detector for path in (chain.aligned, chain.merged))
    found = [{item.block: item.score for item in rank(tiny, source, "taylor", detector).candidates} for detector in (aligned, merged)]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("variant", ["opentad", "actionformer"])
@torch.inference_mode()
def test_units_of_the_stem_of_a_detector_on_features(variant: str) -> None:
    head = HeadConfig(width=16, heads=2, levels=2, stem_layers=3, regression_ranges=((0, 6), (6, 10000)), attention_window=5, variant=variant)
    config = DetectorConfig(classes=("a",), backbone=FeatureConfig(channels=12), head=head, sampling=SamplingConfig(mode="whole", window=16))
    torch.manual_seed(0)
    detector = Detector(config).eval()
    for block in detector.blocks:
        block.drop_path_attn.scale.fill_(1.0)
        block.drop_path_mlp.scale.fill_(1.0)
    for name, value in detector.projection.embed.named_parameters():
        if name.endswith("bias"):
            # So that what goes into the first block is not zero in padding, where a code base leaves it.
            value += 0.5
    inputs, masks = torch.randn(2, 12, 16), torch.arange(16)[None].expand(2, 16) < torch.tensor([[16], [9]])
    keys = [(1,), ("0.attention",), ("2.mlp",), ("0.mlp", "1.mlp")]
    features = leave_out(detector, inputs, masks, keys)
    for key in keys:
        small = without(detector, *key)
        expected = small.pool(small.run_blocks(small.embed(inputs, masks), masks), masks)
        assert torch.equal(features[key], expected)
        assert not torch.equal(features[key], features[WHOLE])
    # Padding does not count: the second sample gives the same alone, cut to its length.
    content = detector.body.content(detector, masks)
    steps = [_distances(before, after, 2, content)[1] for _, before, after in walk(detector, inputs, masks, "attention")]
    alone = [_distances(before[:, :9], after[:, :9], 1, None)[0] for _, before, after in walk(detector, inputs[1:], masks[1:], "attention")]
    assert steps == pytest.approx(alone, rel=1e-4)
    assert min(steps) > 1e-3
