from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.compress.alignment import AlignSettings
from tadshrink.data.loader import Batch, TrainingSet
from tadshrink.data.sources import open_source
from tadshrink.distributed import World
from tadshrink.errors import UserError
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages import align as module
from tadshrink.stages.align import align
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.drop import drop
from tadshrink.stages.merge import merge
from tadshrink.training.draws import Draws
from tests.notes import Notes


def again(tiny, chain, output: Path, reporter: Reporter = SILENT, **settings: object) -> None:
    align(chain.dropped, tiny.checkpoint, tiny.choice, output, chain.settings.model_copy(update=settings), "cpu", reporter)


def test_the_result_has_plain_weights_and_the_updates_apart(chain) -> None:
    before, after = load_checkpoint(chain.dropped), load_checkpoint(chain.aligned)
    assert after.state.keys() == before.state.keys()
    assert after.dropped == before.dropped
    assert (after.lora["rank"], after.lora["alpha"], after.lora["targets"]) == (4, 4.0, ["qkv", "proj"])
    assert len(after.lora["state"]) == 3 * 2 * 2
    assert any(value.any() for name, value in after.lora["state"].items() if "lora_B" in name)


def test_only_what_should_be_trained_has_moved(chain) -> None:
    before, after = load_checkpoint(chain.dropped), load_checkpoint(chain.aligned)
    moved = {name for name, value in after.state.items() if not value.equal(before.state[name])}
    fixed = [name for name in after.state if "backbone" in name and not ("norm" in name or "patch_embed" in name)]
    assert not moved & set(fixed)
    assert "backbone.model.backbone.patch_embed.projection.weight" in moved
    assert "rpn_head.loss_normalizer" in moved
    assert not any("fc_norm" in name for name in moved)


def test_history_says_what_was_done(tiny, chain) -> None:
    source, aligned = load_checkpoint(chain.dropped), load_checkpoint(chain.aligned)
    entry = aligned.history[-1]
    assert (entry["command"], entry["parent"]) == ("align", source.checksum)
    assert entry["arguments"]["teacher"] == load_checkpoint(tiny.checkpoint).checksum
    assert entry["arguments"]["epochs"] == 2
    assert [curve.keys() for curve in entry["metrics"]["curve"]] == [{"feature", "cls_kd", "reg_kd", "cls", "reg"}] * 2


def test_the_training_state_goes_when_the_result_is_there(chain) -> None:
    assert not list(chain.aligned.parent.glob("*.training"))


def test_interrupted_after_an_epoch_and_repeated_it_gives_the_same_file(tiny, chain, tmp_path: Path, interrupt) -> None:
    steps = _steps_per_epoch(tiny, chain)
    with pytest.raises(KeyboardInterrupt):
        again(tiny, chain, tmp_path / "aligned.pth", interrupt("align", steps + 1))
    assert [item.name for item in tmp_path.iterdir()] == ["aligned.pth.training"]
    resumed = interrupt()
    again(tiny, chain, tmp_path / "aligned.pth", resumed)
    assert any("going on after epoch 1 of 2" in note for note in resumed.notes)
    assert [item.name for item in tmp_path.iterdir()] == ["aligned.pth"]
    assert (tmp_path / "aligned.pth").read_bytes() == chain.aligned.read_bytes()


@pytest.mark.parametrize("change", ["settings", "dataset", "teacher", "student", "processes"])
def test_a_training_state_of_other_models_settings_or_data_is_not_used(tiny, chain, tmp_path: Path, interrupt, change: str,
                                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder)}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(data))
    choice = DatasetChoice(str(tmp_path / "d.yaml"))
    with pytest.raises(KeyboardInterrupt):
        align(chain.dropped, tiny.checkpoint, choice, tmp_path / "a.pth", chain.settings, "cpu",
              interrupt("align", _steps_per_epoch(tiny, chain) + 1))
    settings = chain.settings.model_copy(update={"lr": 1e-4} if change == "settings" else {})
    models = {"student": chain.dropped, "teacher": tiny.checkpoint}
    if change == "dataset":
        (tmp_path / "d.yaml").write_text(yaml.safe_dump(data | {"heldout": 0.2}))
    if change in models:
        checkpoint = load_checkpoint(models[change])
        models[change] = tmp_path / "other.pth"
        save_checkpoint(models[change], replace(checkpoint, state={name: value * 1.01 if value.is_floating_point() else value
                                                                   for name, value in checkpoint.state.items()}))
    if change == "processes":
        monkeypatch.setattr(module, "world", lambda: World(0, 2))
    resumed = interrupt("align", 1)
    with pytest.raises(KeyboardInterrupt):
        align(models["student"], models["teacher"], choice, tmp_path / "a.pth", settings, "cpu", resumed)
    assert any("starting anew" in note for note in resumed.notes)


@pytest.mark.parametrize(("targets", "kept"), [(("qkv", "fc1"), ["layers.0.0"]), (("qkv",), None)])
def test_layers_that_are_gone_get_no_updates(tiny, tmp_path: Path, targets: tuple[str, ...], kept: list[str] | None) -> None:
    student, output, notes = tmp_path / "student.pth", tmp_path / "a.pth", Notes()
    drop(tiny.checkpoint, student, [f"{index}.attention" for index in range(4)])
    align(student, tiny.checkpoint, tiny.choice, output, AlignSettings(epochs=0, lora_targets=targets), "cpu", notes)
    lora = load_checkpoint(output).lora
    assert (lora and lora["targets"]) == kept
    assert any("no layer qkv is left for LoRA" in line for line in notes.lines) == (kept is None)
    if kept:
        merge(output, tmp_path / "merged.pth", device="cpu")


@torch.inference_mode()
def test_no_epochs_leave_the_outputs_as_they_were(tiny, chain, tmp_path: Path) -> None:
    again(tiny, chain, tmp_path / "a.pth", epochs=0)
    first, second = (tiny.opened(path).detector for path in (chain.dropped, tmp_path / "a.pth"))
    window = example_window(tiny.config)
    torch.testing.assert_close(second(*window).logits(), first(*window).logits(), rtol=0, atol=1e-6)


def test_a_head_start_alone_changes_the_block_before_and_brings_no_updates(tiny, chain, tmp_path: Path) -> None:
    result = align(chain.dropped, tiny.checkpoint, tiny.choice, tmp_path / "a.pth",
                   AlignSettings(heal="none", init="linear", init_windows=8), "cpu")
    before, after = load_checkpoint(chain.dropped), load_checkpoint(tmp_path / "a.pth")
    block = after.dropped[0] - 1
    assert (result.lora, result.curve, after.lora) == (False, [], None)
    assert {name for name, value in after.state.items() if not value.equal(before.state[name])} == {
        f"backbone.model.backbone.blocks.{block}.mlp.layers.1.{part}" for part in ("weight", "bias")}
    assert after.history[-1]["arguments"]["init"] == "linear"


def test_full_fine_tuning_moves_the_blocks_and_needs_no_merging(tiny, chain, tmp_path: Path) -> None:
    again(tiny, chain, tmp_path / "a.pth", heal="full", epochs=1)
    before, after = load_checkpoint(chain.dropped), load_checkpoint(tmp_path / "a.pth")
    assert after.lora is None and after.state.keys() == before.state.keys()
    same = {name for name, value in after.state.items() if value.equal(before.state[name])}
    assert {name for name in same if "pos_embed" not in name} == {f"backbone.model.backbone.fc_norm.{part}" for part in ("weight", "bias")}


KEPT = {"augment": False, "init": "linear", "init_windows": 8, "lora_blocks": "after-cut", "dtype": "float16", "accumulate": 2, "batch_size": 2}


def test_interrupted_with_kept_answers_and_a_head_start_it_gives_the_same_file(tiny, chain, tmp_path: Path, interrupt) -> None:
    reporter = interrupt()
    again(tiny, chain, tmp_path / "whole.pth", reporter, **KEPT)
    assert any(note.startswith("teacher: ") and "the others were known" in note for note in reporter.notes)
    training = TrainingSet(tiny.data, "train", open_source(tiny.data, tiny.config.sampling))
    with pytest.raises(KeyboardInterrupt):
        again(tiny, chain, tmp_path / "aligned.pth", interrupt("align", Draws(training, 2, 0).batches_per_epoch + 1), **KEPT)
    again(tiny, chain, tmp_path / "aligned.pth", **KEPT)
    assert (tmp_path / "aligned.pth").read_bytes() == (tmp_path / "whole.pth").read_bytes()


def test_a_model_whose_updates_are_not_merged_is_refused(tiny, chain, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not merged yet\. First: tadshrink merge"):
        align(chain.aligned, tiny.checkpoint, tiny.choice, tmp_path / "a.pth", AlignSettings(), "cpu")


def test_a_teacher_without_a_block_of_the_student_is_refused(tiny, chain, tmp_path: Path) -> None:
    drop(tiny.checkpoint, tmp_path / "teacher.pth", [0, 1])
    drop(tiny.checkpoint, tmp_path / "student.pth", [3])
    with pytest.raises(UserError, match="teacher lacks block 0, 1 of the student"):
        align(tmp_path / "student.pth", tmp_path / "teacher.pth", tiny.choice, tmp_path / "a.pth", AlignSettings(), "cpu")


def test_a_teacher_of_another_architecture_is_refused(tiny, chain, tmp_path: Path) -> None:
    source = load_checkpoint(tiny.checkpoint)
    source.architecture["head"]["center_radius"] = 2.5
    save_checkpoint(tmp_path / "teacher.pth", source)
    with pytest.raises(UserError, match=r"architecture or classes differ"):
        align(chain.dropped, tmp_path / "teacher.pth", tiny.choice, tmp_path / "a.pth", AlignSettings(), "cpu")


def test_an_output_that_cannot_be_written_is_found_before_the_work(tiny, chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_both", None)
    with pytest.raises(UserError, match="not a regular file"):
        again(tiny, chain, tmp_path)


def _steps_per_epoch(tiny, chain) -> int:
    training = TrainingSet(tiny.data, "train", open_source(tiny.data, tiny.config.sampling))
    return Draws(training, chain.settings.batch_size, 0).batches_per_epoch


def test_a_share_of_the_windows_as_they_are(tiny, chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, original = list[tuple[int, bool]](), TrainingSet.batch

    def spy(self: TrainingSet, indices: Iterable[int], epoch: int, seed: int, augmented: bool = True) -> Batch:
        drawn.append((len(list(indices)), augmented))
        return original(self, indices, epoch, seed, augmented)

    monkeypatch.setattr(TrainingSet, "batch", spy)
    settings = AlignSettings(epochs=1, batch_size=2, subset=0.3, augment=False)
    align(chain.dropped, tiny.checkpoint, tiny.choice, tmp_path / "a.pth", settings, "cpu")
    samples = len(TrainingSet(tiny.data, "train", open_source(tiny.data, tiny.config.sampling)).samples)
    assert {augmented for _, augmented in drawn} == {False}
    assert sum(count for count, _ in drawn) == round(0.3 * samples) // 2 * 2
