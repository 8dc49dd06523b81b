"""Block drop on recognisers of trimmed videos, with and without a compressing module."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from tadshrink.compress.select_settings import SelectOptions
from tadshrink.compress.settings import AlignSettings
from tadshrink.device import choose_compute
from tadshrink.errors import UserError
from tadshrink.onnx_export import precision
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.tracing import graph as trace
from tadshrink.recognition import onnx_file
from tadshrink.recognition.accuracy import accuracy
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.evaluation import predict
from tadshrink.recognition.opening import open_recogniser, read_recogniser
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.recognition.settings import ModuleTrainSettings
from tadshrink.recognition.views import ClipSource, Views
from tadshrink.recognition.windows import CLIPS
from tadshrink.reporting import SILENT
from tadshrink.stages.align import align
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.drop import drop
from tadshrink.stages.export import Seen, export
from tadshrink.stages.merge import merge
from tadshrink.stages.profile import profile_video
from tadshrink.stages.select import select
from tadshrink.stages.sfc_classify import classify
from tadshrink.stages.sfc_eval import evaluate_recogniser
from tadshrink.stages.sfc_train import train_module
from tests.clips import TinyClips
from tests.notes import Notes


@pytest.fixture(scope="module", params=[None, pytest.param("block:0", marks=pytest.mark.slow), "block:1"])
def checkpoint(tiny_clips: TinyClips, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A ViT recogniser, plain or with a module after one of its three blocks."""
    if request.param is None:
        return tiny_clips.checkpoints["vit"]
    output = tmp_path_factory.mktemp("module") / "sfc.pth"
    sfc = SfcConfig(split=request.param, clips=3, ratio=0.5)
    train_module(tiny_clips.checkpoints["vit"], tiny_clips.choice, output, sfc, ModuleTrainSettings(epochs=1), "cpu")
    return output


@pytest.fixture(scope="module")
def ranked(checkpoint: Path, tiny_clips: TinyClips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("ranked") / "ranked.pth"
    select(checkpoint, choice(tiny_clips), output, device="cpu")
    return output


def choice(clips: TinyClips) -> DatasetChoice:
    return DatasetChoice(clips.choice.name, clips.root)


def recogniser(path: Path) -> ActionRecogniser:
    return open_recogniser(read_recogniser(path), path)


def heldout_top1(model: ActionRecogniser, clips: TinyClips) -> float:
    data = clips.choice.load(SILENT)
    records = data.split("heldout")
    views = Views(CLIPS, 1) if model.sfc is None else None
    found = predict(model, records, ClipSource(model.config.clip), views, choose_compute("cpu", 8))
    return accuracy(found, torch.tensor([data.classes.index(record.label) for record in records]), data.classes).top1


def test_selection_by_top1_equals_evaluating_every_smaller_model(checkpoint: Path, ranked: Path, tiny_clips: TinyClips) -> None:
    ranking = read_recogniser(ranked).ranking
    assert ranking["metric"] == "top1"
    assert ranking["baseline"] == pytest.approx(heldout_top1(recogniser(checkpoint), tiny_clips))
    for item in ranking["ranking"]:
        smaller = recogniser(checkpoint)
        smaller.blocks.drop(item["block"])
        assert item["score"] == pytest.approx(heldout_top1(smaller, tiny_clips)), item


def test_no_cosine_of_a_span_through_the_module(checkpoint: Path, tiny_clips: TinyClips, tmp_path: Path) -> None:
    options = SelectOptions(metric="cosine", span=2)
    if recogniser(checkpoint).sfc is None:
        assert select(checkpoint, choice(tiny_clips), tmp_path / "a.pth", options, device="cpu").ranking.candidates
        return
    with pytest.raises(UserError, match="the compressing module in between changes its shape"):
        select(checkpoint, choice(tiny_clips), tmp_path / "a.pth", options, device="cpu")


def test_a_block_without_which_all_are_right_goes_first(tiny_clips: TinyClips, tmp_path: Path) -> None:
    base, compute = tiny_clips.checkpoints["vit"], choose_compute("cpu", 8)
    records, smaller = tiny_clips.choice.load(SILENT).split("training")[:8], recogniser(base)
    smaller.blocks.drop(1)
    said = predict(smaller, records, ClipSource(smaller.config.clip), Views(CLIPS, 1), compute).argmax(1).tolist()
    lines = [f"{record.path},{smaller.config.classes[number]},heldout" for record, number in zip(records, said, strict=True)]
    lines += [f"{tiny_clips.video(number)},{smaller.config.classes[number]},training" for number in range(2)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,subset", *lines]))
    found = select(base, DatasetChoice(str(tmp_path / "clips.csv")), tmp_path / "ranked.pth", device="cpu").ranking
    scores = {item.block: item.score for item in found.candidates}
    assert scores[1] == 100 > max(scores[0], scores[2])
    assert found.candidates[0].block == 1


@pytest.mark.parametrize("metric", ["loss", "mse", "cosine", "taylor", "random"])
def test_other_metrics_rank_all_blocks(checkpoint: Path, metric: str, tiny_clips: TinyClips, tmp_path: Path) -> None:
    found = select(checkpoint, choice(tiny_clips), tmp_path / "ranked.pth", SelectOptions(metric=metric), device="cpu").ranking
    assert sorted(item.block for item in found.candidates) == [0, 1, 2]
    assert len({item.score for item in found.candidates}) == 3
    assert np.isfinite([item.score for item in found.candidates]).all()


def test_blocks_with_the_module_between_them_are_the_one_pass(checkpoint: Path) -> None:
    for dropped in ((), (0,), (1,), (0, 1), (2,)):
        model = recogniser(checkpoint)
        for block in dropped:
            model.blocks.drop(block)
        count = model.sfc.config.clips if model.sfc is not None else 1
        clips = torch.randint(256, (2, count, 3, 4, 32, 32), dtype=torch.uint8)
        masks = torch.ones(2, count, dtype=torch.bool)
        with torch.inference_mode():
            output = model.finish(model.pool(model.run_blocks(model.embed(clips, masks), masks), masks), masks)
            expected = model(clips)[:, 0] if model.sfc is None else model.compress(clips)
        torch.testing.assert_close(output.class_logits, expected, rtol=1e-5, atol=1e-6)


def test_drop_align_and_merge(checkpoint: Path, ranked: Path, tiny_clips: TinyClips, tmp_path: Path) -> None:
    notes = Notes()
    dropped = drop(ranked, tmp_path / "dropped.pth")
    assert len(dropped.remaining) == 2
    aligned = align(tmp_path / "dropped.pth", checkpoint, choice(tiny_clips), tmp_path / "aligned.pth",
                    AlignSettings(epochs=2, batch_size=8), "cpu", notes)
    assert set(aligned.curve[0]) == {"feature", "cls_kd", "cls"}
    assert sum(aligned.curve[1].values()) < sum(aligned.curve[0].values())
    assert "distilled by softmax" in " ".join(notes.lines)
    merged = merge(tmp_path / "aligned.pth", tmp_path / "merged.pth", device="cpu")
    assert merged.max_difference < 1e-4
    before, after = (read_recogniser(tmp_path / name) for name in ("dropped.pth", "merged.pth"))
    assert before.state.keys() == after.state.keys()
    assert any(not torch.equal(before.state[name], after.state[name]) for name in before.state if name.startswith("backbone.blocks"))
    if recogniser(checkpoint).sfc is not None:
        assert not torch.equal(before.state["sfc.temperature"], after.state["sfc.temperature"])
        # Measured with the weights that are written, over the batches of one epoch.
        assert after.state["sfc.abstraction.1.num_batches_tracked"] == len(tiny_clips.choice.load(SILENT).split("training")) // 8
    assert after.dropped == dropped.dropped
    views = "10x1" if recogniser(checkpoint).sfc is None else "sfc"
    assert evaluate_recogniser(tmp_path / "merged.pth", tiny_clips.choice, views, device="cpu").accuracy.videos == 16


def test_a_module_is_fitted_after_a_drop(tiny_clips: TinyClips, tmp_path: Path) -> None:
    drop(tiny_clips.checkpoints["vit"], tmp_path / "dropped.pth", [1])
    train_module(tmp_path / "dropped.pth", tiny_clips.choice, tmp_path / "sfc.pth", SfcConfig(split="block:1", clips=3, ratio=0.5),
                 ModuleTrainSettings(epochs=1), "cpu")
    found = profile_video(tmp_path / "sfc.pth", measure=None)
    assert found.dropped == [1]
    assert found.parts.parts["block:1"] == 0 < found.parts.parts["block:0"]
    assert [way.name for way in found.ways] == ["10x3", "10x1", "1x1", "sfc"]
    macs = {way.name: way.macs for way in found.ways}
    assert macs["10x3"] == 30 * macs["1x1"]
    assert macs["sfc"] < 4 * macs["1x1"]


@pytest.mark.parametrize("checkpoint", [pytest.param(None, marks=pytest.mark.slow), pytest.param("block:0", marks=pytest.mark.slow), "block:1"],
                         indirect=True)
def test_the_onnx_file_classifies_as_the_checkpoint_does(checkpoint: Path, tiny_clips: TinyClips, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    path, traced = tmp_path / "model.onnx", list[onnx.ModelProto]()

    def once(*given: Any) -> onnx.ModelProto:
        traced.append(copy.deepcopy(traced[0]) if traced else trace(*given))
        return copy.deepcopy(traced[0])

    monkeypatch.setattr(onnx_file, "graph", once)
    made = export(checkpoint, onnx=path, settings=OnnxSettings(), seen=Seen(choice(tiny_clips)))
    assert made.onnx["difference"]["scores"] < 1e-5
    assert made.onnx["windows"].endswith(" windows of synthetic-clips")
    views = "10x1" if recogniser(checkpoint).sfc is None else "sfc"
    theirs, ours = (evaluate_recogniser(file, tiny_clips.choice, views, device="cpu").accuracy for file in (path, checkpoint))
    assert theirs == ours
    with pytest.raises(UserError, match=r"takes|no compressing module"):
        evaluate_recogniser(path, tiny_clips.choice, "10x1" if views == "sfc" else "sfc", device="cpu")
    with pytest.raises(UserError, match=r"takes|no compressing module"):
        classify(path, [tiny_clips.video()], "10x1" if views == "sfc" else "sfc", device="cpu")
    with pytest.raises(UserError, match="--fps means nothing for a recogniser"):
        export(checkpoint, onnx=path, settings=OnnxSettings(), seen=Seen(file=tiny_clips.video(), fps=7))
    small = export(checkpoint, onnx=tmp_path / "small.onnx", settings=OnnxSettings("int8"), seen=Seen(choice(tiny_clips))).onnx
    assert small["precision"] == "int8 (dynamic)"
    assert 1e-6 < small["difference"]["scores"] < 0.1


def test_the_onnx_file_of_a_slow_only_network_classifies_as_its_checkpoint_does(tiny_clips: TinyClips, tmp_path: Path) -> None:
    made, path = tmp_path / "sfc.pth", tmp_path / "model.onnx"
    sfc = SfcConfig(split="res3", clips=3, ratio=0.5)
    train_module(tiny_clips.checkpoints["slow"], tiny_clips.choice, made, sfc, ModuleTrainSettings(epochs=1), "cpu")
    found = export(made, onnx=path, settings=OnnxSettings(provider="cpu"), seen=Seen(choice(tiny_clips))).onnx
    assert found["difference"]["scores"] < 1e-5
    video = tiny_clips.video()
    theirs, ours = (dict(classify(file, [video], "sfc", device="cpu").guesses[str(video)]) for file in (path, made))
    assert theirs == pytest.approx(ours, abs=1e-5)
    assert len(set(ours.values())) > 1


def test_what_is_for_detectors_alone_is_refused(tiny_clips: TinyClips, tmp_path: Path) -> None:
    slow, vit = tiny_clips.checkpoints["slow"], tiny_clips.checkpoints["vit"]
    with pytest.raises(UserError, match="no blocks"):
        drop(slow, tmp_path / "out.pth", [1])
    with pytest.raises(UserError, match="no blocks"):
        select(slow, choice(tiny_clips), tmp_path / "out.pth", device="cpu")
    with pytest.raises(UserError, match="proves nothing"):
        select(vit, choice(tiny_clips), tmp_path / "out.pth", split="testing", device="cpu")
    with pytest.raises(UserError, match="OpenTAD has no recognisers"):
        export(vit, opentad=tmp_path / "out.pth")
    with pytest.raises(UserError, match="means nothing for a recogniser"):
        export(vit, onnx=tmp_path / "out.onnx", settings=OnnxSettings(nms=True))
    assert not list(tmp_path.iterdir())


def test_the_loss_of_the_whole_model_is_that_of_its_views(tiny_clips: TinyClips, tmp_path: Path) -> None:
    path, data = tiny_clips.checkpoints["vit"], tiny_clips.choice.load(SILENT)
    ranking = select(path, DatasetChoice(tiny_clips.choice.name, tiny_clips.root), tmp_path / "r.pth", SelectOptions(metric="loss"),
                     device="cpu").ranking
    model = open_recogniser(read_recogniser(path), path)
    source = ClipSource(model.config.clip)
    with torch.no_grad():
        expected = [functional.cross_entropy(model(source.views(record, Views(CLIPS, 1))[None])[0],
                                             torch.tensor([data.classes.index(record.label)] * CLIPS)) for record in data.split("heldout")]
    assert ranking.baseline == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_a_graph_with_other_probabilities_leaves_no_file(tiny_clips: TinyClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(precision.PRECISIONS, "fp32", replace(precision.PRECISIONS["fp32"], scores=-1.0))
    with pytest.raises(UserError, match="probabilities are not those of the model"):
        export(tiny_clips.checkpoints["vit"], onnx=tmp_path / "a.onnx", settings=OnnxSettings(provider="cpu"))
    assert not list(tmp_path.iterdir())
