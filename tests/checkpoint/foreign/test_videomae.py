from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tadshrink.checkpoint.foreign.videomae import load_videomae
from tadshrink.errors import UserError
from tadshrink.models.vit import VideoViT, sinusoid_table
from tests.checkpoint import reference_files as files
from tests.notes import Notes


def vit_state() -> files.State:
    config = files.video_config(table_size=224)
    return {name.removeprefix(files.VIT): value for name, value in files.weights(config).items() if name.startswith(files.VIT)}


@pytest.mark.parametrize(
    ("form", "left_out", "made"),
    [
        ("pretrained", "decoder.blocks.0.norm1.weight", "pos_embed, fc_norm.weight, fc_norm.bias"),
        ("finetuned", "left out: head.weight, head.bias; made", "pos_embed"),
        ("mmaction", "left out: cls_head.fc_cls.weight, cls_head.fc_cls.bias", ""),
    ],
)
def test_every_form_gives_the_same_backbone(tmp_path: Path, form: str, left_out: str, made: str) -> None:
    state, notes = vit_state(), Notes()
    read = load_videomae(files.write_videomae(tmp_path / "a.pth", state, form), reporter=notes)
    assert (read.backbone.width, read.backbone.depth, read.backbone.table_size, read.backbone.mlp_ratio) == (16, 4, 224, 4)
    VideoViT(read.backbone).load_state_dict(read.state)
    for name, value in state.items():
        if form == "mmaction" or not name.startswith(("pos_embed", "fc_norm")):
            assert torch.equal(read.state[name], value)
    if form != "mmaction":
        assert torch.equal(read.state["pos_embed"], sinusoid_table(1568, 16)[None])
    assert read.state["fc_norm.weight"][0] == {"pretrained": 1, "finetuned": 2}.get(form, state["fc_norm.weight"][0])
    assert left_out in notes.lines[0]
    assert notes.lines[0].endswith(f"; made: {made}") or not made


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.pop("blocks.1.attn.q_bias"), "1 missing (blocks.1.attn.q_bias)"),
        (lambda s: s.update({"blocks.1.attn.q_bias": torch.ones(3)}), "1 of the wrong shape (blocks.1.attn.q_bias (3,) instead of (16,))"),
        (lambda s: [s.pop(name) for name in list(s) if name.startswith("blocks.")], "no blocks"),
    ],
)
def test_weights_that_are_not_whole(tmp_path: Path, change: object, problem: str) -> None:
    state = vit_state()
    change(state)  # type: ignore[operator]
    with pytest.raises(UserError) as caught:
        load_videomae(files.write_videomae(tmp_path / "a.pth", state, "pretrained"))
    assert problem in str(caught.value)


def test_a_missing_last_block_of_a_known_size_is_noticed(tmp_path: Path) -> None:
    config = files.video_config(width=384, depth=11, heads=6, table_size=224)
    with torch.device("meta"):
        names = {name: value for name, value in VideoViT(config.backbone).state_dict().items()}
    torch.save({f"backbone.{name}": torch.zeros(value.shape) for name, value in names.items()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"13 missing \(blocks\.11\.norm1\.weight"):
        load_videomae(tmp_path / "a.pth")


def test_a_detector_is_no_backbone(tmp_path: Path) -> None:
    path = files.write_opentad(tmp_path / "a.pth", files.weights(files.video_config()))
    with pytest.raises(UserError, match="OpenTAD's end-to-end detector: no VideoMAE weights"):
        load_videomae(path)
    torch.save({"conv.weight": torch.ones(1)}, path)
    with pytest.raises(UserError, match="unknown layout"):
        load_videomae(path)
