"""Compression against the reference programs: merged LoRA, the losses of distillation and their gradients, the choice of a block."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tadshrink
from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.compress.alignment import AlignmentLosses, AlignSettings
from tadshrink.compress.candidates import Key, Ranking
from tadshrink.compress.lora import heal_parameters
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.compress.selection import rank_units
from tadshrink.data.annotations import Action, VideoRecord
from tadshrink.data.dataset_config import DatasetConfig
from tadshrink.data.datasets import Dataset
from tadshrink.data.grids import GRIDS
from tadshrink.data.loader import Batch
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.windows import Window
from tadshrink.device import Compute
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.inference import ground_truth
from tadshrink.evaluation.mean_ap import MapResult, mean_average_precision
from tadshrink.models.config import SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.stages.merge import merge
from tests.golden import compact, shared
from tests.golden.cases import KINDS, Models
from tests.golden.test_detections import compare_videos
from tests.notes import Noted

needs_shared = pytest.mark.skipif(shared.GOLDEN is None, reason="no folder of reference checkpoints")
CLOSE = 1e-4
STUDENT, TEACHER = "03_pbd_student", "04b_pbd_uncompressed_merged"
#: Case -> what the reference program merged it into.
MERGED = {STUDENT: "08_lora_merge/student_merge.pth", "04_pbd_uncompressed_lora": "08_lora_merge/uncompressed_merge.pth"}
#: Rounding of weights below 1.
SAME_WEIGHT = 1e-6


@needs_shared
@pytest.mark.parametrize(("name", "kind"), [(STUDENT, "ema"), ("04_pbd_uncompressed_lora", "raw"), *(
    pytest.param(*case, marks=pytest.mark.slow) for case in ((STUDENT, "raw"), ("04_pbd_uncompressed_lora", "ema")))])
def test_merge(models: Models, tmp_path: Path, name: str, kind: str) -> None:
    found, expected = our_merge(models, name, kind, tmp_path), shared.weights(MERGED[name], kind)
    assert found.keys() == expected.keys()
    check_weights(found, expected)


def test_merge_of_the_compact_case(models: Models, tmp_path: Path) -> None:
    name = compact.PREFIX + STUDENT
    expected = compact.merged_weights(name)
    assert len(expected) == 2
    check_weights(our_merge(models, name, "ema", tmp_path), expected)


def our_merge(models: Models, name: str, kind: str, folder: Path) -> dict[str, Tensor]:
    """The weights that the ``merge`` command writes."""
    settings = LoadSettings.parse(models.case(name).settings | {"weights": kind}, "test")
    merge(ModelFile(models.path(name), settings), folder / "merged.pth", device="cpu")
    checkpoint = load_checkpoint(folder / "merged.pth")
    assert checkpoint.lora is None
    return checkpoint.state


def check_weights(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for key, value in expected.items():
        # The running number of positives is an integer in EMA weights.
        torch.testing.assert_close(found[key], value.float(), rtol=0, atol=SAME_WEIGHT, msg=lambda text, key=key: f"{key}: {text}")


#: Loss of an alignment -> what it is called in the reference program.
LOSSES = {"feature": "loss_out", "cls_kd": "loss_cls_kd", "reg_kd": "loss_reg_kd", "cls": "cls_loss", "reg": "reg_loss"}


@needs_shared
@pytest.mark.parametrize("kind", KINDS)
def test_distillation_losses(models: Models, kind: str) -> None:
    """In training without its random parts. Published are softmaxes over classes; by default each class is compared on its own."""
    expected = shared.read_json(STUDENT, "losses.json")[kind]["train_mode_no_stochastic"]
    losses = alignment_losses(models, student(models, kind))
    for ours, theirs in LOSSES.items():
        assert losses[ours].item() == pytest.approx(expected[theirs], rel=CLOSE), ours
    assert sum(losses.values()).item() == pytest.approx(expected["cost"], rel=CLOSE)


@needs_shared
def test_distillation_trains_what_the_reference_trains_by_the_same_gradients(models: Models) -> None:
    expected = shared.read_json(STUDENT, "losses.json")["grads_of_cost_train_mode_no_stochastic_ema"]["value"]
    trained = student(models, "ema")
    sum(alignment_losses(models, trained).values()).backward()
    found = {reference_name(name): value.grad for name, value in trained.named_parameters()}
    assert found.keys() == expected.keys()
    assert {name for name, grad in found.items() if grad is not None} == {name for name, grad in expected.items() if grad is not None}
    for name, (norm, total) in ((name, numbers) for name, numbers in expected.items() if numbers):
        grad = found[name]
        # Some are zero but for rounding, such as those of keys' biases.
        assert grad.norm().item() == pytest.approx(norm, rel=CLOSE, abs=1e-6), name
        assert grad.sum().item() == pytest.approx(total, abs=CLOSE * norm * grad.numel() ** 0.5 + 1e-6), name


def student(models: Models, kind: str) -> Detector:
    """As an alignment trains it, but for stochastic depth."""
    made = tadshrink.load(models.path(STUDENT), weights=kind, **models.case(STUDENT).settings)
    for parameter in heal_parameters(made):
        parameter.requires_grad_(True)
    for module in made.modules():
        if hasattr(module, "drop_path"):
            module.drop_path = 0.0
    # Files hold a fraction of points with the raw weights; OpenTAD cuts it off when it loads them.
    made.rpn_head.loss_normalizer.floor_()
    return made


def alignment_losses(models: Models, trained: Detector) -> dict[str, Tensor]:
    call = models.case(STUDENT).calls["batch"]
    losses = AlignmentLosses(trained, models.detector(TEACHER, "ema"), AlignSettings(cls_kd="softmax"))
    return losses(losses.lesson(Batch(call.inputs, call.masks, list(call.segments), list(call.labels))))


def reference_name(name: str) -> str:
    return re.sub(r"(qkv|proj)\.lora_([AB])\.default\.weight$", r"lora_\1.\2", name).replace(".base_layer.", ".")


SELECTION = "07b_selection"


@dataclass(frozen=True, eq=False)
class Selection:
    """A ranking, the detections without each block, and what the reference program's selection had.

    Attributes:
        expected: by block "predictions", "metrics" and "ap" ``[thresholds, classes]``, the classes numbered by
            "activity_index".
        log: lines that the reference wrote.
    """

    ranking: Ranking
    detections: dict[int, dict[str, Detections]]
    data: Dataset
    expected: dict[int, dict[str, Any]]
    chosen: int
    log: list[str]

    def theirs(self, block: int) -> dict[str, Detections]:
        return {name: Detections([item["segment"] for item in items], [item["score"] for item in items],
                                 [self.data.classes.index(item["label"]) for item in items])
                for name, items in self.expected[block]["predictions"].items()}

    def score(self, detections: Mapping[str, Detections]) -> MapResult:
        return mean_average_precision(ground_truth(self.data, "training"), detections, self.data.classes)


class Windows:
    """A source that has the reference's windows and nothing else: of each video two, the second from the middle of the first on."""

    kept_share = 0.75

    def __init__(self, metas: list[list[dict[str, Any]]], arrays: Mapping[str, np.ndarray], sampling: SamplingConfig) -> None:
        # At the usual overlap no length of video gives just these two; here the second is moved back to end with the video.
        self.sampling = sampling.model_copy(update={"overlap": 0.25})
        self.fps, self.cells = metas[0][0]["fps"], sampling.window * 3 // 2
        self.loaded = {(meta["video_name"], meta["window_start_frame"] // sampling.snippet_stride): tuple(
            torch.from_numpy(arrays[f"{part}{batch}"][sample]) for part in ("inputs", "masks"))
            for batch, items in enumerate(metas) for sample, meta in enumerate(items)}

    def timeline(self, video: Video) -> Timeline:
        return Timeline(video.duration, self.fps, self.cells * self.sampling.snippet_stride, self.cells)

    def windows(self, video: Video) -> list[Window]:
        return GRIDS[self.sampling.mode].windows(self.timeline(video), self.sampling)

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        return self.loaded[video.name, window.first]


@pytest.fixture(scope="module")
def selection(models: Models) -> Selection:
    said = shared.read_json(SELECTION, "selection.json")
    expected = {item["candidate"][0]: item for item in shared.read_json(SELECTION, "candidates.json")["candidates"]}
    data = annotated(said["classes"])
    detector = tadshrink.load(models.path(STUDENT), classes=data.classes, **models.case(STUDENT).settings)
    source = Windows(said["metas"], np.load(shared.folder(SELECTION) / "inputs.npz"), detector.config.sampling)
    noted, compute = Noted(), Compute(torch.device("cpu"), torch.float32, "")
    ranking = rank_units(detector, data, "training", SelectOptions(batch_size=2), source, compute, noted)
    return Selection(ranking, {block: detections(noted, (block,)) for block in expected}, data, expected, said["chosen"], said["log"])


def detections(noted: Noted, key: Key) -> dict[str, Detections]:
    """Those without these units."""
    return {video: Detections(rows[:, :2], rows[:, 2], rows[:, 3]) for found in noted.found for video, rows in found[key].items()}


def annotated(classes: list[str]) -> Dataset:
    """Made here, as a file with an action that ends before it starts, such as the reference's, is refused."""
    config = DatasetConfig(name="reference", annotations="", videos="", classes=classes, heldout=1e-9)
    database = shared.read_json(SELECTION, "gt.json")["database"]
    return Dataset(config, Path(), tuple(VideoRecord(name, entry["subset"], entry["duration"], tuple(
        Action(*item["segment"], item["label"]) for item in entry["annotations"])) for name, entry in database.items()))


@needs_shared
def test_detections_without_each_block(selection: Selection) -> None:
    assert selection.detections.keys() == selection.expected.keys()
    for block, found in selection.detections.items():
        compare_videos(found, selection.theirs(block))


#: Allowed difference of an AP (a fraction) whatever order equal scores are in; and of mAPs, which come of one order each.
SAME_AP, SAME_MAP = 1e-6, 5e-4
#: Orders of detections with equal scores that are tried.
ORDERS = 20


@needs_shared
def test_precision_of_the_detections_of_the_reference(selection: Selection) -> None:
    """Its sort leaves detections of equal scores in any order, which changes half of the APs by up to 0.002: each must be had by some order."""
    for block, expected in selection.expected.items():
        columns = [expected["activity_index"][name] for name in selection.data.classes]
        tables = np.stack([selection.score(found).per_class / 100 for found in reordered(selection.theirs(block))])
        assert (np.ptp(tables, axis=0) <= SAME_AP).any(), "no AP is certain"
        wanted = np.array(expected["ap"]).T[columns]
        assert (tables.min(0) - SAME_AP <= wanted).all() and (wanted <= tables.max(0) + SAME_AP).all(), block


@needs_shared
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_map_without_each_block(selection: Selection, whose: str) -> None:
    for block, expected in selection.expected.items():
        result = selection.score(selection.detections[block] if whose == "ours" else selection.theirs(block))
        assert f"Number of ground truth instances: {result.ground_truths}" in selection.log
        found = {f"mAP@{threshold:g}": value / 100 for threshold, value in result.map.items()} | {"average_mAP": result.average / 100}
        assert found == pytest.approx(expected["metrics"], abs=SAME_MAP), block


@needs_shared
def test_the_same_block_is_chosen(selection: Selection) -> None:
    """The reference goes by mAP@0.5 in THUMOS-14 and we by the average; here both give the same order."""
    metrics, ranked = {block: item["metrics"] for block, item in selection.expected.items()}, selection.ranking.candidates
    for key in ("mAP@0.5", "average_mAP"):
        assert [item.block for item in ranked] == sorted(metrics, key=lambda block, key=key: -metrics[block][key])
    assert ranked[0].block == selection.chosen
    assert {item.block: item.score / 100 for item in ranked} == pytest.approx(
        {block: item["average_mAP"] for block, item in metrics.items()}, abs=SAME_MAP)


def reordered(found: Mapping[str, Detections]) -> Iterator[dict[str, Detections]]:
    """With scores that differ by so little that only equal ones change places."""
    for seed in range(ORDERS):
        rng = np.random.default_rng(seed)
        yield {video: replace(item, scores=item.scores + rng.uniform(0, 2e-5, len(item))) for video, item in found.items()}
