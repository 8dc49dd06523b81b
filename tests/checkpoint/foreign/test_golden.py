"""Checkpoints that the reference programs wrote themselves; left out where their folder is not there."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.foreign.summary import summary
from tadshrink.checkpoint.foreign.writer import save_reference
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig
from tests.checkpoint import reference_files as files

GOLDEN = files.shared_golden()
pytestmark = pytest.mark.skipif(GOLDEN is None, reason="no folder of reference checkpoints")

#: Case -> checkpoint, its line without the weights, and frame size where it is not 160.
CASES: dict[str, tuple[str, str, int]] = {
    "01_adatad_adapter": ("checkpoint/epoch_3.pth", "OpenTAD AdaTAD · VideoMAE ViT (96 wide, 3 blocks, 3 heads) with adapters in all blocks · "
                          "ActionFormer head 32 wide, 6 levels, 5 classes", 160),
    "01c_adatad_adapter_224": ("checkpoint/epoch_3.pth", "OpenTAD AdaTAD · VideoMAE ViT (48 wide, 2 blocks, 3 heads) with adapters in all "
                               "blocks · ActionFormer head 16 wide, 6 levels, 5 classes", 224),
    "01d_adatad_anet_resize": ("checkpoint/epoch_3.pth", "OpenTAD AdaTAD · VideoMAE ViT (48 wide, 2 blocks, 3 heads) with adapters in all "
                               "blocks · ActionFormer head 32 wide, 6 levels, 1 class, absolute positions", 160),
    "02_adatad_fullft": ("checkpoint/epoch_3.pth", "OpenTAD end-to-end ActionFormer · VideoMAE ViT (96 wide, 3 blocks, 3 heads) · "
                         "ActionFormer head 32 wide, 6 levels, 5 classes", 160),
    "03_pbd_student": ("checkpoint/best.pth", "Progressive Block Drop student · VideoMAE ViT (96 wide, 5 blocks, 3 heads) with LoRA rank 24, "
                       "blocks 1, 3 dropped · ActionFormer head 32 wide, 6 levels, 5 classes", 160),
    "04_pbd_uncompressed_lora": ("checkpoint/best.pth", "Progressive Block Drop, uncompressed · VideoMAE ViT (96 wide, 5 blocks, 3 heads) "
                                 "with LoRA rank 24 · ActionFormer head 32 wide, 6 levels, 5 classes", 160),
    "04b_pbd_uncompressed_merged": ("../08_lora_merge/uncompressed_merge.pth", "Progressive Block Drop, uncompressed and merged · VideoMAE ViT "
                                    "(96 wide, 5 blocks, 3 heads) · ActionFormer head 32 wide, 6 levels, 5 classes", 160),
    "05_opentad_actionformer_i3d": ("checkpoint/epoch_3.pth", "OpenTAD ActionFormer on 48-channel features · 2 stem blocks · ActionFormer head "
                                    "32 wide, 6 levels, 5 classes, attention window 5", 160),
    "06_actionformer_original": ("ckpt/epoch_004.pth.tar", "ActionFormer (original) on 48-channel features · 2 stem blocks · ActionFormer head "
                                 "32 wide, 6 levels, 5 classes, attention window 5", 160),
}  # fmt: skip


def folder(name: str) -> Path:
    assert GOLDEN is not None
    return GOLDEN / name


def case(name: str) -> dict[str, Any]:
    return json.loads((folder(name) / "case.json").read_text(encoding="utf-8"))


def told(name: str) -> LoadSettings:
    """What the case says about the settings that its weights cannot tell, and nothing else."""
    data = case(name)
    if "cfg" in data:
        model = data["cfg"]["model"]
        return LoadSettings(head_heads=model["n_head"], window=model["max_seq_len"], attention_window=model["n_mha_win_size"],
                            absolute_position=model["use_abs_pe"])
    projection, backbone = data["model_cfg"]["projection"], data["model_cfg"].get("backbone", {}).get("backbone")
    video = {"heads": backbone["num_heads"], "clip_frames": backbone["num_frames"], "frame_size": CASES[name][2]} if backbone else {}
    return LoadSettings(head_heads=projection["attn_cfg"]["n_head"], window=projection["max_seq_len"],
                        attention_window=projection["attn_cfg"]["n_mha_win_size"], absolute_position=projection["use_abs_pe"], **video)


@cache
def loaded(name: str) -> Checkpoint:
    """Read once; not to be changed."""
    return load_checkpoint(folder(name) / CASES[name][0], told(name))


@pytest.mark.parametrize("name", CASES)
def test_the_line_names_what_it_is(name: str) -> None:
    checkpoint = loaded(name)
    assert summary(checkpoint) == f"{CASES[name][1]} · EMA weights"


@pytest.mark.parametrize("name", [name for name in CASES if name != "06_actionformer_original"])
def test_the_architecture_is_that_of_the_configuration(name: str) -> None:
    data = case(name)
    model, nms = data["model_cfg"], data["post_processing"]["nms"]
    checkpoint = loaded(name)
    config = DetectorConfig.parse(checkpoint.architecture, name)
    head, projection, rpn = config.head, model["projection"], model["rpn_head"]
    assert (head.embed_layers, head.stem_layers, head.levels - 1) == tuple(projection["arch"])
    assert (head.width, head.head_layers, len(config.classes)) == (projection["out_channels"], rpn["num_convs"], rpn["num_classes"])
    assert (head.drop_path, head.input_dropout) == (projection["path_pdrop"], projection.get("input_pdrop", 0))
    assert [list(pair) for pair in head.regression_ranges] == rpn["prior_generator"]["regression_range"]
    assert (head.label_smoothing, head.loss_normalizer, head.regression_weight) == (
        rpn["label_smoothing"], rpn["loss_normalizer"], rpn.get("loss_weight", 1))
    assert config.inputs == projection["in_channels"]
    post = config.postprocess
    assert (post.nms_sigma, post.max_detections, post.multiclass) == (nms["sigma"], nms["max_seg_num"], nms["multiclass"])
    assert post.nms_min_score == nms.get("min_score", 0)
    assert post.voting_iou == (0 if nms["multiclass"] else nms["voting_thresh"])
    if not isinstance(config.backbone, FeatureConfig):
        vit = model["backbone"]["backbone"]
        assert (config.backbone.width, config.backbone.depth, config.backbone.heads) == (vit["embed_dims"], vit["depth"], vit["num_heads"])
        assert (config.backbone.mlp_ratio, config.backbone.table_size) == (vit["mlp_ratio"], vit["img_size"])
        assert list(config.backbone.adapters) == vit.get("adapter_index", [])
        assert sorted(checkpoint.dropped) == sorted(vit.get("drop_idx", []))
        assert (checkpoint.lora or {}).get("rank") == vit.get("lora_rank")
        assert config.sampling.frames == vit.get("total_frames", config.sampling.window)


def test_the_original_actionformer_is_that_of_the_configuration() -> None:
    name = "06_actionformer_original"
    data = case(name)["cfg"]
    config = DetectorConfig.parse(loaded(name).architecture, name)
    head, post, test = config.head, config.postprocess, data["test_cfg"]
    assert (head.variant, head.width, head.head_layers, head.loss_normalizer) == (
        "actionformer", data["model"]["embd_dim"], data["model"]["head_num_layers"] - 1, data["train_cfg"]["init_loss_norm"])
    assert (config.inputs, len(config.classes)) == (data["dataset"]["input_dim"], data["dataset"]["num_classes"])
    assert config.sampling.snippet_stride == data["dataset"]["feat_stride"]
    assert config.sampling.offset_frames == data["dataset"]["num_frames"] / 2
    assert (post.pre_nms_top_k, post.max_detections, post.nms_min_score, post.nms_sigma, post.min_length, post.score_threshold) == (
        test["pre_nms_topk"], test["max_seg_num"], test["min_score"], test["nms_sigma"], test["duration_thresh"], test["pre_nms_thresh"])
    assert (post.top_k_per_level, post.rounded, post.nms_on, post.multiclass) == (True, False, "grid", test["multiclass_nms"])


#: What goes round by default: a file of each layout.
ROUND = {("01_adatad_adapter", "ema"), ("01d_adatad_anet_resize", "raw"), ("03_pbd_student", "ema"), ("03_pbd_student", "raw"),
         ("04_pbd_uncompressed_lora", "ema"), ("05_opentad_actionformer_i3d", "ema"), ("06_actionformer_original", "ema"),
         ("08_lora_merge", "ema")}


@pytest.mark.parametrize(("name", "weights"), [
    pytest.param(name, weights, marks=() if (name, weights) in ROUND else pytest.mark.slow)
    for weights in ("ema", "raw") for name in (*CASES, "08_lora_merge")])
def test_every_weight_goes_round(tmp_path: Path, name: str, weights: str) -> None:
    """Reference -> checkpoint -> tadshrink file -> checkpoint -> reference -> checkpoint."""
    source = folder(name) / (CASES[name][0] if name in CASES else "student_merge.pth")
    imported = load_checkpoint(source, LoadSettings(weights=weights))
    save_checkpoint(tmp_path / "ours.pth", imported)
    save_reference(tmp_path / "back.pth", load_checkpoint(tmp_path / "ours.pth"))
    before, after = (torch.load(path, weights_only=True) for path in (source, tmp_path / "back.pth"))
    key = {"ema": "state_dict_ema", "raw": "state_dict"}[weights]
    assert before[key].keys() == after[key].keys()
    for item, value in before[key].items():
        assert torch.equal(value, after[key][item]), item
        assert (value.dtype, value.shape) == (after[key][item].dtype, after[key][item].shape)
    assert {name: set(before[name]) for name in ("state_dict", "state_dict_ema")} == {
        name: set(after[name]) for name in ("state_dict", "state_dict_ema")}
    assert load_checkpoint(tmp_path / "back.pth").checksum == imported.checksum


def test_every_variant_of_the_fork_is_read_or_refused(tmp_path: Path) -> None:
    """The blocks of its 19 ViT classes, as the fork lists them, in a detector of our own."""
    variants = json.loads(folder("pbd_backbone_variants.json").read_text(encoding="utf-8"))
    config = files.video_config(width=48, heads=3, depth=2)
    around = {name: value for name, value in files.weights(config).items() if ".blocks." not in name}
    for variant, layout in variants.items():
        state = dict(around)
        for block in (0, 1) if layout["dropped_block1_has_keys"] else (0,):
            state |= {f"{files.VIT}blocks.{block}.{name}": torch.ones(shape) for name, shape in layout["block0"].items()}
        state |= {f"{files.VIT}{name}": torch.ones(1) for name in layout["other"]}
        torch.save(state, tmp_path / "a.pth")
        if variant == "VisionTransformerLadder":
            with pytest.raises(UserError, match="ladder"):
                load_checkpoint(tmp_path / "a.pth")
            continue
        checkpoint = load_checkpoint(tmp_path / "a.pth", LoadSettings(depth=2))
        assert checkpoint.dropped == ([] if layout["dropped_block1_has_keys"] else [1])
        assert (checkpoint.lora is not None) == any("lora" in name for name in layout["block0"])
        # Some keep the weights of blocks that they skip: only the user knows.
        assert load_checkpoint(tmp_path / "a.pth", LoadSettings(depth=2, dropped=(1,))).dropped == [1]
