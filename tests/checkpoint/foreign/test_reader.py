from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.settings import AS_IS, LoadSettings
from tadshrink.checkpoint.foreign.summary import summary
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint
from tadshrink.compress.lora import load_lora, merged_copy
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import build_detector
from tests.checkpoint import reference_files as files
from tests.notes import Notes

VIT = files.VIT


def read(path: Path, settings: LoadSettings = files.TOLD) -> tuple[Checkpoint, DetectorConfig, list[str]]:
    notes = Notes()
    checkpoint = load_checkpoint(path, settings, notes)
    return checkpoint, DetectorConfig.parse(checkpoint.architecture, path), notes.lines


def refusal(path: Path, settings: LoadSettings = files.TOLD) -> str:
    with pytest.raises(UserError) as caught:
        load_checkpoint(path, settings)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_opentad_with_adapters(tmp_path: Path) -> None:
    made = files.video_config(adapters=(0, 2))
    state = files.weights(made)
    checkpoint, config, notes = read(files.write_opentad(tmp_path / "a.pth", state))
    assert config.backbone == made.backbone
    assert config.head == made.head
    assert config.classes == made.classes
    assert (config.sampling.window, config.sampling.frames_per_cell, config.sampling.frame_size) == (16, 2, 32)
    assert same(checkpoint.state, files.averaged(state))
    assert checkpoint.state["rpn_head.loss_normalizer"].dtype is torch.int64
    assert (checkpoint.dropped, checkpoint.lora) == ([], None)
    assert summary(checkpoint) == notes[0] == (
        "OpenTAD AdaTAD · VideoMAE ViT (16 wide, 4 blocks, 2 heads) with adapters in blocks 0, 2 · ActionFormer head 8 wide, 3 levels, "
        "3 classes · EMA weights"
    )
    assert "EMA weights, from state_dict_ema; state_dict is left aside (--weights raw)" in notes
    assert "not needed and ignored: epoch, optimizer, scheduler" in notes
    build_detector(config, checkpoint.state, checkpoint.dropped, "a.pth")


def test_an_optimizer_without_the_backbone_shows_that_it_was_frozen(tmp_path: Path) -> None:
    """The released configurations of frozen backbones have another NMS than those of full fine-tuning."""
    state = files.weights(files.video_config())
    elsewhere = sum(not name.startswith(VIT) and name != "rpn_head.loss_normalizer" for name in state)
    nms = {}
    for count in (elsewhere, elsewhere + 1):
        groups = [{"lr": 0.1, "params": list(range(5))}, {"lr": 0.1, "params": list(range(5, count))}]
        path = files.write(tmp_path / "a.pth", files.prefixed(state), None, optimizer={"state": {}, "param_groups": groups})
        _, config, notes = read(path)
        nms[count] = (config.postprocess.nms_sigma, config.postprocess.nms_min_score, config.head.input_dropout)
        told = "usual for a frozen ViT, of which the file's optimizer has nothing: input_dropout=0.2, nms_sigma=0.5, nms_min_score=0.001"
        assert (told in notes) == (count == elsewhere)
    assert nms == {elsewhere: (0.5, 0.001, 0.2), elsewhere + 1: (0.7, 0.0, 0.0)}


@pytest.mark.parametrize("optimizer", [3, {}, {"param_groups": 3}, {"param_groups": [3]}, {"param_groups": [{"params": 3}]}])
def test_an_odd_optimizer_is_no_reason_to_refuse_a_file(tmp_path: Path, optimizer: Any) -> None:
    path = files.write(tmp_path / "a.pth", files.prefixed(files.weights(files.video_config())), None, optimizer=optimizer)
    assert read(path)[1].postprocess.nms_sigma == 0.7


def test_the_raw_weights_can_be_asked_for(tmp_path: Path) -> None:
    state = files.weights(files.video_config())
    path = files.write_opentad(tmp_path / "a.pth", state)
    checkpoint, _, notes = read(path, LoadSettings(weights="raw").over(files.TOLD))
    assert same(checkpoint.state, state)
    assert "raw weights, from state_dict; state_dict_ema is left aside (--weights ema)" in notes
    assert checkpoint.history[0]["arguments"]["weights"] == "raw"
    files.write(path, files.prefixed(state), None)
    assert same(read(path)[0].state, state)
    assert "no state_dict_ema in the file (state_dict)" in refusal(path, LoadSettings(weights="ema"))


@pytest.mark.parametrize("wrap", [lambda s: s, files.prefixed, lambda s: {"model": files.prefixed(s)}, lambda s: {"state_dict": s, "meta": {}}])
def test_bare_state_dicts(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    state = files.weights(files.video_config())
    torch.save(wrap(state), tmp_path / "a.pth")
    checkpoint, _, _ = read(tmp_path / "a.pth")
    assert same(checkpoint.state, state)
    assert checkpoint.history[0]["arguments"]["layout"] == "opentad"


def test_the_fork_with_lora_and_dropped_blocks(tmp_path: Path) -> None:
    made = files.video_config()
    state = files.weights(made, dropped=[1, 3])
    path = files.write_fork(tmp_path / "a.pth", files.add_lora(state, rank=4))
    checkpoint, config, notes = read(path, LoadSettings(weights="raw", dropped=(3, 1)).over(files.TOLD))
    assert (config.backbone.depth, checkpoint.dropped) == (4, [3, 1])
    assert same(checkpoint.state, state)
    assert {name: checkpoint.lora[name] for name in ("rank", "alpha", "targets")} == {"rank": 4, "alpha": 4.0, "targets": ["qkv", "proj"]}
    student = "Progressive Block Drop student · VideoMAE ViT (16 wide, 4 blocks, 2 heads) with LoRA rank 4, blocks 1, 3 dropped · "
    assert notes[0].startswith(student)
    assert read(path, LoadSettings(depth=4).over(files.TOLD))[0].dropped == [1, 3]
    # Nothing says that there was a block 3.
    assert read(path)[0].dropped == [1]


@pytest.mark.parametrize("feed_forward", [0, 4, 6])
def test_lora_computes_what_the_fork_does(tmp_path: Path, feed_forward: int) -> None:
    """Merged by hand: W + (A B)^T."""
    made = files.video_config()
    state = files.weights(made)
    told = files.add_lora(state, rank=4, feed_forward=feed_forward)
    checkpoint, config, notes = read(files.write(tmp_path / "a.pth", files.prefixed(told), None))
    detector = build_detector(config, checkpoint.state, (), "a.pth")
    load_lora(detector, checkpoint.lora, "a.pth")
    merged = merged_copy(detector).state_dict()
    layers = {"attn.qkv": "attn.lora_qkv", "attn.proj": "attn.lora_proj", **({name: f"{name}.lora" for name in
              ("mlp.layers.0.0", "mlp.layers.1")} if feed_forward else {})}
    for block in range(4):
        for layer, update in layers.items():
            place = f"{VIT}blocks.{block}."
            expected = state[f"{place}{layer}.weight"] + (told[f"{place}{update}.A"] @ told[f"{place}{update}.B"]).t()
            torch.testing.assert_close(merged[f"{place}{layer}.weight"], expected, rtol=1e-5, atol=1e-5)
    assert any("filled up with zeros to rank 6" in note for note in notes) == (feed_forward == 6)


def test_a_block_without_lora_is_filled_up(tmp_path: Path) -> None:
    told = files.add_lora(files.weights(files.video_config()), rank=4)
    told = {name: value for name, value in told.items() if not name.startswith(f"{VIT}blocks.2.attn.lora")}
    checkpoint, config, notes = read(files.write(tmp_path / "a.pth", files.prefixed(told), None))
    assert "LoRA of 2 layers is filled up with zeros to rank 4, which changes nothing" in notes
    load_lora(build_detector(config, checkpoint.state, (), "a.pth"), checkpoint.lora, "a.pth")


def test_features(tmp_path: Path) -> None:
    made = files.feature_config()
    state = files.weights(made)
    checkpoint, config, notes = read(files.write_opentad(tmp_path / "a.pth", state), LoadSettings(attention_window=5, window=64))
    assert config.backbone == made.backbone
    assert config.head == made.head.model_copy(update={"input_dropout": 0.2})
    assert (config.sampling.mode, config.sampling.offset_frames, config.postprocess.nms_on) == ("whole", 8, "grid")
    assert same(checkpoint.state, files.averaged(state))
    assert notes[0].startswith("OpenTAD ActionFormer on 6-channel features · 2 stem blocks · ActionFormer head 8 wide, 3 levels, 3 classes, ")
    assert list(config.classes) == checkpoint.classes == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize("extras", [{}, {"relative_position": True, "neck": "fpn"}, {"drop_path": 0.0}])
def test_the_original_actionformer(tmp_path: Path, extras: dict[str, Any]) -> None:
    made = files.feature_config("actionformer", **extras)
    state = files.weights(made)
    told = LoadSettings(window=64, loss_normalizer=250, **({} if "neck" in extras else {"attention_window": 5}))
    checkpoint, config, notes = read(files.write_actionformer(tmp_path / "a.pth", state), told)
    assert config.head == made.head.model_copy(update={"loss_normalizer": 250.0})
    expected = files.averaged(state) | {"rpn_head.loss_normalizer": torch.tensor(250.0)}
    assert same(checkpoint.state, expected)
    assert notes[0].startswith("ActionFormer (original) on 6-channel features")
    build_detector(config, checkpoint.state, (), "a.pth")


def test_history_says_where_the_weights_are_from(tmp_path: Path) -> None:
    checkpoint, _, _ = read(files.write_fork(tmp_path / "a.pth", files.weights(files.video_config())))
    entry = checkpoint.history[0]
    assert (entry["command"], entry["parent"], len(checkpoint.history)) == ("import", None, 1)
    assert entry["arguments"] == {"layout": "fork", "dictionary": "state_dict_ema", "weights": "EMA", "settings": {
        "heads": 2, "window": 16, "frames_per_cell": 2, "frame_size": 32, "classes": ["run", "jump", "throw"]}}


def test_every_part_of_the_architecture_has_a_reason(tmp_path: Path) -> None:
    path = files.write_opentad(tmp_path / "a.pth", files.weights(files.video_config()))
    text = "\n".join(read(path, LoadSettings(window=32))[2])
    assert "\ngiven: window=32\n" in text
    assert "\nread from the weights: width=16, depth=4, " in text
    assert "usual for AdaTAD on THUMOS-14: " in text
    assert "about one per 64 channels (the file cannot tell): heads=1\n" in text
    assert "placeholders, as the file has no names (--set classes=FILE): classes=3 names" in text
    for name in LoadSettings.model_fields:
        assert name in ("weights", "preset", "dropped", "classes") or f"{name}=" in text, name


def test_half_precision_is_kept_and_told(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in files.weights(files.video_config()).items()}
    torch.save(state, tmp_path / "a.pth")
    checkpoint, config, notes = read(tmp_path / "a.pth")
    assert {value.dtype for value in checkpoint.state.values()} == {torch.float16}
    assert "float16 weights are kept as they are and computed with in float32" in notes
    assert {value.dtype for value in build_detector(config, checkpoint.state, (), "a.pth").parameters()} == {torch.float32}


def test_a_wider_table_and_other_patches(tmp_path: Path) -> None:
    made = files.video_config(patch_size=14, table_size=56, chunk_frames=8, mlp_ratio=2.5)
    _, config, _ = read(files.write_opentad(tmp_path / "a.pth", files.weights(made)), LoadSettings(heads=2, clip_frames=8))
    assert config.backbone == made.backbone
    assert config.sampling.frame_size == 224


BLOCK = f"{VIT}blocks.1.norm1.weight"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.pop(BLOCK), f"1 missing ({BLOCK})"),
        (lambda s: s.update(extra=torch.ones(1)), "1 left over (extra)"),
        (lambda s: s.update({BLOCK: torch.ones(17)}), f"1 of the wrong shape ({BLOCK} (17,) instead of (16,))"),
        (lambda s: s.update({BLOCK: torch.full((16,), float("nan"))}), f"{BLOCK} has values that are not finite"),
        (lambda s: s.update({BLOCK: torch.tensor([float("inf")])}), f"{BLOCK} has values that are not finite"),
        (lambda s: s.update({BLOCK: 3}), f"{BLOCK} is int, not a tensor"),
        (lambda s: s.update({BLOCK: {"a": 1}}), f"{BLOCK} is dict, not a tensor"),
        (lambda s: s.update({BLOCK: torch.ones(16, dtype=torch.int64)}), f"{BLOCK} is int64, not floating point"),
        (lambda s: s.update({BLOCK: torch.ones(0)}), f"{BLOCK} is empty (0,)"),
        (lambda s: s.update({BLOCK: torch.ones(1).expand(10**15)}), f"{BLOCK} has less data than its shape (1000000000000000,) says"),
        (lambda s: s.update({BLOCK: torch.ones(16).to_sparse()}), f"{BLOCK} is not a dense tensor with data"),
        (lambda s: s.update({BLOCK: torch.ones(16, device="meta")}), f"{BLOCK} is not a dense tensor with data"),
        (lambda s: s.update({7: torch.ones(1)}), "7 is not a name"),
        (lambda s: s.update({"a\x1b[2J": torch.ones(1)}), r"a\x1b[2J is not a name"),
        (lambda s: s.update({f"{VIT}blocks.99999999.norm1.weight": torch.ones(16)}), "blocks.99999999: there cannot be that many"),
        (lambda s: s.update({f"{VIT}ladders.adapters.0.gamma": torch.ones(1)}), "a ladder variant of Progressive Block Drop"),
        (lambda s: s.update({f"{VIT}blocks.0.mlp.layers.0.0.linear.weight": torch.ones(64, 16)}), "two names in the file mean the same weight"),
        (lambda s: [s.pop(name) for name in list(s) if ".blocks." in name], "no block has weights"),
    ],
)  # fmt: skip
def test_bad_weights_are_named(tmp_path: Path, change: Callable[[Any], Any], problem: str) -> None:
    state = files.weights(files.video_config())
    change(state)
    torch.save(state, tmp_path / "a.pth")
    assert problem in refusal(tmp_path / "a.pth")


def test_names_in_messages_are_those_of_the_file(tmp_path: Path) -> None:
    state = files.as_actionformer(files.weights(files.feature_config("actionformer")))
    state["cls_head.norm.0.bias"] = torch.ones(1, 9, 1)
    del state["backbone.embd_norm.1.weight"]
    torch.save(state, tmp_path / "a.pth")
    line = refusal(tmp_path / "a.pth", LoadSettings(attention_window=5))
    assert "the original ActionFormer: 1 missing (backbone.embd_norm.1.weight), 1 of the wrong shape (cls_head.norm.0.bias (1, 9, 1) " in line


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.pop(f"{VIT}blocks.2.attn.lora_proj.B"), f"1 missing ({VIT}blocks.2.attn.lora_proj.B)"),
        (lambda s: [s.pop(f"{VIT}blocks.2.attn.lora_proj.{half}") for half in "AB"], f"2 missing ({VIT}blocks.2.attn.lora_proj.A, "),
        (lambda s: s.update({f"{VIT}blocks.2.attn.lora_qkv.A": torch.ones(16, 3)}), "blocks.2.attn.lora_qkv.A (16, 3) instead of (16, 4))"),
        (lambda s: s.update({f"{VIT}blocks.2.attn.lora_qkv.A": torch.ones(16)}), "blocks.2.attn.lora_qkv.A (16,) instead of (16, 4))"),
    ],
)  # fmt: skip
def test_bad_lora_names_the_block(tmp_path: Path, change: Callable[[Any], Any], problem: str) -> None:
    state = files.add_lora(files.weights(files.video_config()), rank=4)
    change(state)
    torch.save(state, tmp_path / "a.pth")
    assert problem in refusal(tmp_path / "a.pth")


def test_an_unknown_layout_is_compared_with_the_closest(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(2), "layer1.0.bn.bias": torch.ones(2), "cls_head.fc_cls.weight": torch.ones(1)}, tmp_path / "a.pth")
    line = refusal(tmp_path / "a.pth")
    assert line.startswith("weights of an unknown layout; the closest is VideoMAE weights of mmaction2 (")
    assert "left over conv#.weight, layer#.#.bn.bias. " in line


@pytest.mark.parametrize("form", ["pretrained", "finetuned", "mmaction"])
def test_a_backbone_alone_is_for_training(tmp_path: Path, form: str) -> None:
    state = {name.removeprefix(VIT): value for name, value in files.weights(files.video_config()).items() if name.startswith(VIT)}
    line = refusal(files.write_videomae(tmp_path / "a.pth", state, form), AS_IS)
    assert line.endswith("a backbone without a detector. Start training from it, with: tadshrink train --init")


def test_mixed_prefixes_are_told(tmp_path: Path) -> None:
    state = files.weights(files.video_config())
    torch.save(files.prefixed(state) | {"rpn_head.extra": torch.ones(1)}, tmp_path / "a.pth")
    problem = f"some names have the prefix of a wrapper (module.{VIT}pos_embed) and some do not (rpn_head.extra)"
    assert refusal(tmp_path / "a.pth").startswith(problem)


def test_widths_of_halves_that_are_gone_are_not_told(tmp_path: Path) -> None:
    checkpoint, _, _ = read(files.write_opentad(tmp_path / "a.pth", files.weights(files.video_config())))
    backbone = {**checkpoint.architecture["backbone"], "kept": [[2, 64], [1, 48], [2, 40], [2, 64]]}
    pruned = replace(checkpoint, architecture={**checkpoint.architecture, "backbone": backbone})
    assert "pruned to 2 heads and 40 hidden units, " in summary(replace(pruned, dropped=["0.mlp", 1, "3.mlp"]))
    assert "pruned to 1-2 heads, " in summary(replace(pruned, dropped=["0.mlp", "1.mlp", "2.mlp", "3.mlp"]))
