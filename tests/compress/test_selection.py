from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tadshrink.compress.selection import METRICS, Metric, Ranking, leave_one_out, rank_blocks
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.loader import inference_batches
from tadshrink.data.sources import Source, open_source
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import split_videos
from tadshrink.models.detector import Detector, build_detector
from tadshrink.models.losses import detection_losses
from tadshrink.stages.evaluate import evaluate_detector


@pytest.fixture(scope="module")
def source(tiny) -> Source:
    return open_source(tiny.data, tiny.config.sampling)


def rank(tiny, source: Source, metric: str, detector: Detector | None = None, batch_size: int = 8) -> Ranking:
    opened = tiny.opened()
    return rank_blocks(detector or opened.detector, tiny.data, HELDOUT, metric, source, opened.compute, batch_size)


def without(detector: Detector, block: int) -> Detector:
    """The plain way: a detector that was built without the block."""
    state = {name: value for name, value in detector.state_dict().items() if f".blocks.{block}." not in name}
    return build_detector(detector.config, state, [block], "test")


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


@torch.inference_mode()
def test_leaving_one_out_is_bit_for_bit_a_detector_built_without_that_block(tiny, source: Source) -> None:
    detector = tiny.opened().detector
    inputs, masks, _ = next(windows(tiny, source))
    features = leave_one_out(detector, inputs, masks)
    assert list(features) == [0, 1, 2, 3, None]
    assert torch.equal(features[None], detector.backbone(inputs))
    for block in range(4):
        assert torch.equal(features[block], without(detector, block).backbone(inputs))


@torch.inference_mode()
def test_leaving_one_out_of_a_model_that_has_lost_blocks_already(tiny, source: Source) -> None:
    detector = without(tiny.opened().detector, 1)
    inputs, masks, _ = next(windows(tiny, source))
    features = leave_one_out(detector, inputs, masks)
    assert list(features) == [0, 2, 3, None]
    both = without(tiny.opened().detector, 1)
    both.blocks.drop(2)
    assert torch.equal(features[2], both.backbone(inputs))


def test_map_of_each_candidate_is_that_of_the_model_without_the_block(tiny, source: Source) -> None:
    opened = tiny.opened()
    ranking = rank(tiny, source, "map")
    naive = {block: evaluate_detector(replace(opened, detector=without(opened.detector, block)), tiny.data, HELDOUT, source).average
             for block in range(4)}
    assert {item.block: item.score for item in ranking.candidates} == naive
    assert ranking.baseline == evaluate_detector(opened, tiny.data, HELDOUT, source).average


@torch.inference_mode()
def test_loss_of_each_candidate_is_the_mean_detection_loss_over_windows(tiny, source: Source) -> None:
    ranking = rank(tiny, source, "loss", batch_size=1)
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


def test_blocks_that_change_nothing_go_first_the_smallest_index_before_the_others(tiny, source: Source) -> None:
    ranking = rank(tiny, source, "mse", make_useless(tiny.opened().detector, 3, 1))
    assert [item.block for item in ranking.candidates][:2] == [1, 3]
    assert [item.score for item in ranking.candidates][:2] == [0, 0]
    assert ranking.candidates[2].score > 0


class _Given:
    """Hands out scores in the order in which scorers are made: the whole model first, then block by block."""

    scores: Iterator[float]

    def __init__(self, detector: Detector, truth: object) -> None:
        self.score = next(self.scores)

    def add(self, output: object, evidence: object) -> None:
        pass

    def result(self) -> float:
        return self.score


@pytest.mark.parametrize(("sign", "order"), [(1, [2, 0, 3, 1]), (-1, [1, 0, 3, 2])])
def test_order_of_the_ranking_and_ties(tiny, source: Source, monkeypatch: pytest.MonkeyPatch, sign: int, order: list[int]) -> None:
    monkeypatch.setattr(_Given, "scores", iter([50.0, 40.0, 10.0, 45.0, 40.0]), raising=False)
    monkeypatch.setitem(METRICS, "given", Metric(_Given, sign))
    ranking = rank(tiny, source, "given")
    assert [item.block for item in ranking.candidates] == order
    assert ranking.to_json()["ranking"][order.index(1)] == {"block": 1, "score": 10.0, "change": -40.0}
    assert ranking.to_json().keys() == {"metric", "baseline", "ranking"}


def test_the_detector_is_judged_in_eval_mode_and_left_unchanged(tiny, source: Source) -> None:
    opened = tiny.opened()
    before = {name: value.clone() for name, value in opened.detector.state_dict().items()}
    trained = rank(tiny, source, "mse", opened.detector.train())
    assert trained == rank(tiny, source, "mse")
    assert all(torch.equal(value, before[name]) for name, value in opened.detector.state_dict().items())


def test_unknown_metric_and_a_last_block_are_refused(tiny, source: Source) -> None:
    with pytest.raises(UserError, match=r"unknown metric 'f1'.*map, loss, mse"):
        rank(tiny, source, "f1")
    detector = tiny.opened().detector
    for block in (0, 1, 2):
        detector.blocks.drop(block)
    with pytest.raises(UserError, match="only one block is left"):
        rank(tiny, source, "mse", detector)
