from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.errors import UserError
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.opening import read_recogniser
from tadshrink.recognition.settings import ClipTrainSettings, ModuleTrainSettings
from tadshrink.recognition.views import ClipSource, Views
from tadshrink.stages import recognisers
from tadshrink.stages.recognisers import RecognitionChoice
from tadshrink.stages.sfc_base import train_base
from tadshrink.stages.sfc_classify import classify
from tadshrink.stages.sfc_eval import evaluate_recogniser
from tadshrink.stages.sfc_train import train_module
from tests.clips import TinyClips
from tests.notes import Notes

SPLITS = {"vit": "block:1", "slow": "res3"}
FEW = ModuleTrainSettings(epochs=2, batch_size=6)


def module(name: str, **changes: Any) -> SfcConfig:
    return SfcConfig(**{"split": SPLITS[name], "clips": 3, "ratio": 0.3, **changes})


#: For what both kinds of recogniser do alike.
ONE_KIND = pytest.mark.parametrize("trained", ["vit", pytest.param("slow", marks=pytest.mark.slow)], indirect=True)


@pytest.fixture(scope="module", params=SPLITS)
def trained(tiny_clips: TinyClips, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """A recogniser, and the same with a module that was trained."""
    base, output = tiny_clips.checkpoints[request.param], tmp_path_factory.mktemp("sfc") / "sfc.pth"
    train_module(base, tiny_clips.choice, output, module(request.param), FEW, "cpu")
    return base, output


def test_training_changes_the_module_alone_bit_for_bit(trained: tuple[Path, Path]) -> None:
    before, after = (read_recogniser(path).state for path in trained)
    assert before.keys() == {name for name in after if not name.startswith("sfc.")}
    for name, value in before.items():
        assert value.dtype == after[name].dtype
        assert torch.equal(value, after[name]), name
    # Buffers of batch norms are among them, where there are any.
    assert any("running_mean" in name for name in before) == (trained[0].stem == "slow")


def test_the_module_itself_is_trained(trained: tuple[Path, Path], tiny_clips: TinyClips, tmp_path: Path) -> None:
    base, output = trained
    train_module(base, tiny_clips.choice, tmp_path / "new.pth", module(base.stem), ModuleTrainSettings(epochs=0), "cpu")
    new, after = (read_recogniser(path).state for path in (tmp_path / "new.pth", output))
    names = [name for name in new if name.startswith("sfc.") and new[name].is_floating_point()]
    assert names and not any(torch.equal(new[name], after[name]) for name in names)


@ONE_KIND
def test_the_history_tells_how_it_was_made(trained: tuple[Path, Path], tiny_clips: TinyClips) -> None:
    base, output = trained
    entry = read_recogniser(output).history[-1]
    assert entry["command"] == "sfc train"
    assert entry["parent"] == read_recogniser(base).checksum
    assert entry["arguments"]["sfc"] == module(base.stem).model_dump(mode="json")
    assert entry["metrics"]["heldout"]["videos"] == len(tiny_clips.choice.load(Notes()).split("heldout"))
    assert len(entry["metrics"]["curve"]) == 2


@ONE_KIND
def test_a_ranking_from_before_the_module_goes(trained: tuple[Path, Path], tiny_clips: TinyClips, tmp_path: Path) -> None:
    base, _ = trained
    before = read_recogniser(base)
    save_checkpoint(tmp_path / "ranked.pth", replace(before, ranking={"metric": "top1", "baseline": 50.0, "ranking": []}))
    train_module(tmp_path / "ranked.pth", tiny_clips.choice, tmp_path / "a.pth", module(base.stem), FEW, "cpu")
    assert read_recogniser(tmp_path / "a.pth").ranking is None


@ONE_KIND
def test_a_second_module_takes_the_place_of_the_first(trained: tuple[Path, Path], tiny_clips: TinyClips, tmp_path: Path) -> None:
    base, output = trained
    notes, again, fresh = Notes(), tmp_path / "again.pth", tmp_path / "fresh.pth"
    other = module(base.stem, pool="avg")
    train_module(output, tiny_clips.choice, again, other, FEW, "cpu", notes)
    train_module(base, tiny_clips.choice, fresh, other, FEW, "cpu")
    assert "the recogniser has a module already: a new one takes its place" in notes.lines
    assert read_recogniser(again).checksum == read_recogniser(fresh).checksum


@ONE_KIND
def test_an_interrupted_training_goes_on_to_the_same_weights(tiny_clips: TinyClips, trained: tuple[Path, Path], tmp_path: Path,
                                                             interrupt: Any) -> None:
    base, output = trained
    stopped, notes = interrupt("train the module", 4), Notes()
    arguments = base, tiny_clips.choice, tmp_path / "sfc.pth", module(base.stem), FEW, "cpu"
    with pytest.raises(KeyboardInterrupt):
        train_module(*arguments, stopped)
    train_module(*arguments, notes)
    assert any("going on after epoch 1 of 2" in line for line in notes.lines)
    assert read_recogniser(tmp_path / "sfc.pth").checksum == read_recogniser(output).checksum
    assert [path.name for path in tmp_path.iterdir()] == ["sfc.pth"]


@pytest.mark.parametrize(("changes", "room", "goes_on"), [({}, 7, True), ({"snippet_stride": 3}, 256, False)])
def test_a_training_goes_on_only_with_the_same_model(tiny_clips: TinyClips, tmp_path: Path, interrupt: Any, changes: dict[str, int], room: int,
                                                     goes_on: bool) -> None:
    base, output, notes = tiny_clips.checkpoints["vit"], tmp_path / "sfc.pth", Notes()
    with pytest.raises(KeyboardInterrupt):
        train_module(base, tiny_clips.choice, output, module("vit"), FEW, "cpu", interrupt("train the module", 4))
    file = ModelFile(base, LoadSettings(**changes))
    train_module(file, tiny_clips.choice, output, module("vit"), FEW.model_copy(update={"keep_mib": room}), "cpu", notes)
    assert any("going on after epoch 1" in line for line in notes.lines) == goes_on


def test_no_more_crops_in_turn_than_clips(tiny_clips: TinyClips, tmp_path: Path) -> None:
    notes = Notes()
    train_module(tiny_clips.checkpoints["vit"], tiny_clips.choice, tmp_path / "sfc.pth", module("vit", clips=2), ModuleTrainSettings(epochs=0),
                 "cpu", notes)
    assert "2 clips take turns with as many crops, not 3" in notes.lines
    assert read_recogniser(tmp_path / "sfc.pth").architecture["sfc"]["crops"] == 2


def test_base_trains_and_judges_on_held_out_videos_alone(tiny_clips: TinyClips, tmp_path: Path) -> None:
    settings = ClipTrainSettings(epochs=1, batch_size=8, clips_per_video=1)
    result = train_base(tiny_clips.choice, tmp_path / "base.pth", "slowonly-nano", settings, "cpu", Notes(), {"frames": 4, "stride": 3})
    config = read_recogniser(tmp_path / "base.pth").architecture
    assert config["clip"] == {"frames": 4, "stride": 3, "size": 32}
    assert result.heldout["videos"] == len(tiny_clips.choice.load(Notes()).split("heldout"))
    assert result.views == "10x1"
    assert read_recogniser(tmp_path / "base.pth").checksum == result.checksum


def test_base_starts_from_the_backbone_of_a_detector(tiny_clips: TinyClips, tmp_path: Path) -> None:
    detector = Path(__file__).parents[2] / "tadshrink" / "assets" / "synthetic-nano.pth"
    train_base(tiny_clips.choice, tmp_path / "base.pth", settings=ClipTrainSettings(epochs=0), device="cpu", init=detector)
    weights, ours = load_checkpoint(detector).state, read_recogniser(tmp_path / "base.pth")
    name = "blocks.3.attn.qkv.weight"
    assert torch.equal(ours.state[f"backbone.{name}"], weights[f"backbone.model.backbone.{name}"])
    assert ours.history[0]["arguments"]["init_checksum"]
    with pytest.raises(UserError, match="the architecture is another"):
        train_base(tiny_clips.choice, tmp_path / "b.pth", "slowonly-nano", device="cpu", init=detector)


def test_too_little_for_batch_norms_is_one_line(tiny_clips: TinyClips, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too little for batch norms"):
        train_base(tiny_clips.choice, tmp_path / "b.pth", "slowonly-nano", ClipTrainSettings(batch_size=1), "cpu", clip={"frames": 1})


def test_bad_clips_and_architectures_are_one_line(tiny_clips: TinyClips, tmp_path: Path) -> None:
    for arch, clip, problem in (("nosuch", {}, "unknown architecture"), ("recogniser-nano", {"frames": 8}, "clip.frames must be")):
        with pytest.raises(UserError, match=problem):
            train_base(tiny_clips.choice, tmp_path / "b.pth", arch, device="cpu", clip=clip)
    with pytest.raises(UserError, match=r"sfc.split 'res9' is none of"):
        train_module(tiny_clips.checkpoints["slow"], tiny_clips.choice, tmp_path / "b.pth", module("slow", split="res9"), FEW, "cpu")


@pytest.mark.parametrize("views", ["3x2", "1x1", "sfc"])
def test_eval_on_both_splits(trained: tuple[Path, Path], tiny_clips: TinyClips, views: str) -> None:
    for split, count in (("testing", 16), ("heldout", len(tiny_clips.choice.load(Notes()).split("heldout")))):
        result = evaluate_recogniser(trained[1], tiny_clips.choice, views, split, device="cpu").to_json()
        assert (result["views"], result["split"], result["videos"]) == (views, split, count)
        assert sum(row["videos"] for row in result["per_class"].values()) == count


def test_eval_takes_the_views_that_it_is_given(trained: tuple[Path, Path], tiny_clips: TinyClips, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(recognisers, "predict", lambda model, records, source, views, *rest: given.append(views) or torch.eye(len(records), 8))
    for views in ("3x2", "1x1", "sfc"):
        evaluate_recogniser(trained[1], tiny_clips.choice, views, device="cpu")
    assert given == [Views(3, 2), Views(1, 1), None]


@ONE_KIND
def test_training_videos_are_told(trained: tuple[Path, Path], tiny_clips: TinyClips) -> None:
    notes = Notes()
    evaluate_recogniser(trained[0], tiny_clips.choice, "1x1", "train", device="cpu", reporter=notes)
    assert "these videos are for training: accuracy on them says little about others" in notes.lines


@ONE_KIND
def test_labels_are_found_by_name(trained: tuple[Path, Path], tiny_clips: TinyClips, tmp_path: Path) -> None:
    """A dataset with two of the classes in another order."""
    data = tiny_clips.choice.load(Notes())
    lines = [f"{record.path},{record.label},testing" for record in data.split("testing") if record.label in ("shake", "nod")]
    (tmp_path / "few.csv").write_text("\n".join(["path,label,subset", *lines]))
    few = RecognitionChoice(str(tmp_path / "few.csv"))
    notes = Notes()
    part = evaluate_recogniser(trained[0], few, "2x1", device="cpu", reporter=notes).accuracy
    whole = evaluate_recogniser(trained[0], tiny_clips.choice, "2x1", device="cpu").accuracy
    assert part.per_class == {name: whole.per_class[name] for name in ("nod", "shake")}
    assert any("2 of the model's 8 classes" in line for line in notes.lines)


def test_unknown_classes_are_refused_and_placeholders_named(tiny_clips: TinyClips, tmp_path: Path) -> None:
    checkpoint = read_recogniser(tiny_clips.checkpoints["vit"])
    for name, classes in {"other": [f"what {number}" for number in range(8)], "nameless": [f"class {number}" for number in range(8)]}.items():
        checkpoint.classes[:] = classes
        checkpoint.architecture["classes"] = classes
        save_checkpoint(tmp_path / f"{name}.pth", checkpoint)
    with pytest.raises(UserError, match="8 of the 8 classes are none of the model's 8"):
        evaluate_recogniser(tmp_path / "other.pth", tiny_clips.choice, "1x1", device="cpu")
    notes = Notes()
    result = evaluate_recogniser(tmp_path / "nameless.pth", tiny_clips.choice, "1x1", device="cpu", reporter=notes)
    assert "nod" in result.accuracy.per_class
    assert any("the model has no class names" in line for line in notes.lines)


@ONE_KIND
def test_classify_names_broken_files_and_does_the_others(trained: tuple[Path, Path], tiny_clips: TinyClips, tmp_path: Path) -> None:
    broken, notes = tmp_path / "broken.mp4", Notes()
    broken.write_text("no video")
    result = classify(trained[1], [broken, tiny_clips.video(), tmp_path / "none.mp4"], device="cpu", reporter=notes)
    assert result.views == "sfc"
    assert list(result.failed) == [str(broken), str(tmp_path / "none.mp4")]
    (guesses,) = result.guesses.values()
    assert len(guesses) == 5
    probabilities = [value for _, value in guesses]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1
    everything = classify(trained[0], [tiny_clips.video()], top=99, device="cpu", reporter=notes)
    assert everything.views == "10x1"
    assert sum(value for _, value in everything.guesses[str(tiny_clips.video())]) == pytest.approx(1)


def test_the_one_pass_needs_a_module(tiny_clips: TinyClips) -> None:
    with pytest.raises(UserError, match="no compressing module"):
        evaluate_recogniser(tiny_clips.checkpoints["vit"], tiny_clips.choice, "sfc", device="cpu")
    with pytest.raises(UserError, match="no compressing module"):
        classify(tiny_clips.checkpoints["vit"], [tiny_clips.video()], "sfc", device="cpu")


def test_base_learns_from_what_is_not_held_out(tiny_clips: TinyClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, draw = set[str](), ClipSource.draw
    monkeypatch.setattr(ClipSource, "draw", lambda self, record, *rest, **more: drawn.add(record.name) or draw(self, record, *rest, **more))
    settings = ClipTrainSettings(epochs=1, batch_size=8, clips_per_video=1)
    train_base(tiny_clips.choice, tmp_path / "b.pth", "slowonly-nano", settings, "cpu", Notes(), {"frames": 4, "stride": 3})
    assert drawn == {record.name for record in tiny_clips.choice.load(Notes()).split("training")}
