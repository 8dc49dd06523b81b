from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.checkpoint.pretrained import backbone_weights
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tests.checkpoint import reference_files as files
from tests.notes import Notes


def test_of_a_detector_of_ours(tiny) -> None:
    notes = Notes()
    found = backbone_weights(tiny.checkpoint, 16, notes)
    expected = tiny.opened().detector.backbone.vit.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert notes.lines[-1] == f"the backbone starts from the {len(found)} weights of this detector's; all others are new"


def test_of_a_detector_of_another_code_base_and_of_videomae(tmp_path: Path) -> None:
    weights = files.weights(files.video_config(table_size=224))
    vit = {name.removeprefix(files.VIT): value for name, value in weights.items() if name.startswith(files.VIT)}
    found = backbone_weights(files.write_videomae(tmp_path / "b.pth", vit, "pretrained"), 16)
    assert torch.equal(found["blocks.0.attn.qkv.weight"], vit["blocks.0.attn.qkv.weight"])
    assert found.keys() == vit.keys()
    # The EMA weights, which differ from the others in this file.
    path = files.write_opentad(tmp_path / "a.pth", weights)
    found, detector = backbone_weights(path, 16), load_checkpoint(path).state
    assert all(torch.equal(found[name], detector[files.VIT + name]) for name in vit)
    assert found.keys() == vit.keys()


def test_detectors_without_weights_to_start_from(tiny, chain, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"aligned\.pth: its LoRA is not merged yet"):
        backbone_weights(chain.aligned, 16)
    config = files.feature_config()
    checkpoint = replace(load_checkpoint(tiny.checkpoint), architecture=config.model_dump(mode="json"), classes=list(config.classes))
    assert isinstance(checkpoint, Checkpoint)
    save_checkpoint(tmp_path / "f.pth", replace(checkpoint, state=Detector(config).state_dict()))
    with pytest.raises(UserError, match=r"f\.pth: a detector on features has no video backbone"):
        backbone_weights(tmp_path / "f.pth", 16)
