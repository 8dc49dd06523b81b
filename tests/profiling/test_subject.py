from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.errors import UserError
from tadshrink.models.config import HeadConfig
from tadshrink.models.detector import Detector
from tadshrink.profiling.subject import Sketch, Subject, sketched
from tadshrink.reporting import SILENT
from tests.profiling.models import FEATURES, VIDEO, VIDEO_YAML


@pytest.fixture
def arch(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(VIDEO_YAML)
    return str(path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    made = Checkpoint(VIDEO.model_dump(mode="json"), Detector(VIDEO, [1]).state_dict(), ["a", "b"], [1])
    save_checkpoint(tmp_path / "small.pth", made)
    return tmp_path / "small.pth"


def test_a_sketch_is_the_architecture_with_random_weights(arch: str) -> None:
    detector, text = Subject(Sketch(arch, 5)).open(SILENT)
    assert (detector.config.backbone, detector.config.sampling, len(detector.config.classes)) == (VIDEO.backbone, VIDEO.sampling, 5)
    assert not detector.training
    assert text == "tadshrink small · VideoMAE ViT (8 wide, 4 blocks, 2 heads) · ActionFormer head 4 wide, 2 levels, 5 classes"
    assert len(Sketch("videomae-s").config().classes) == 20


def test_sketches_are_always_the_same_and_leave_the_random_numbers_alone(arch: str) -> None:
    state = torch.get_rng_state()
    one, other = (Subject(Sketch(arch)).open(SILENT)[0] for _ in range(2))
    assert torch.equal(one.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_empty_sketch_has_no_data(arch: str) -> None:
    detector, _ = Subject(Sketch(arch)).open(SILENT, empty=True)
    assert {parameter.device.type for parameter in detector.parameters()} == {"meta"}


def test_blocks_are_left_out_beside_those_that_are_gone(checkpoint: Path) -> None:
    detector, text = Subject(checkpoint, ["2.mlp", 3]).open(SILENT)
    assert detector.blocks.left == {0: ("attention", "mlp"), 2: ("attention",)}
    assert "blocks 1, 2.mlp, 3 dropped" in text


def test_windows_of_another_size_have_the_same_weights(checkpoint: Path) -> None:
    own, other = Subject(checkpoint).open(SILENT)[0], Subject(checkpoint, frames=64, size=48).open(SILENT)[0]
    assert (other.config.sampling.window, other.config.sampling.frames, other.config.sampling.frame_size) == (32, 64, 48)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in own.state_dict().items())
    with torch.inference_mode():
        output = other(torch.zeros(1, 1, 3, 64, 48, 48, dtype=torch.uint8), torch.ones(1, 32, dtype=torch.bool))
    assert [logits.shape[1] for logits in output.cls_logits] == [32, 16]


def test_learned_and_fixed_positions_fit_other_lengths() -> None:
    head = HeadConfig(width=8, heads=2, levels=2, attention_window=5, relative_position=True, absolute_position=True,
                      regression_ranges=((0, 4), (4, 100)))
    sampling = FEATURES.sampling.model_copy(update={"window": 64})
    detector = sketched(FEATURES.model_copy(update={"head": head, "sampling": sampling}))
    with torch.inference_mode():
        output = detector(torch.zeros(1, 6, 64), torch.ones(1, 64, dtype=torch.bool))
    assert [logits.shape[1] for logits in output.cls_logits] == [64, 32]


@pytest.mark.parametrize(("options", "message"), [
    ({"frames": 24}, "window \\* frames_per_cell must be a multiple of chunk_frames"),
    ({"frames": 15}, "15 frames are not a number of cells of 2"),
    ({"frames": 0}, "0 frames are not"), ({"size": 33}, "frame_size must be a multiple of backbone.patch_size"), ({"size": 0}, "of 0 pixels"),
    ({"drop": [1]}, "block 1 cannot be dropped"), ({"drop": [0, 2, 3]}, "small.pth: dropping 3 units leaves no block")])
def test_what_does_not_fit_is_a_user_error(checkpoint: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Subject(checkpoint, **options).open(SILENT)
    assert "\n" not in str(caught.value)


def test_features_have_no_size(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="actionformer-nano: a detector on features has no frames of any size"):
        Subject(Sketch("actionformer-nano"), size=32).open(SILENT)
    assert Subject(Sketch("actionformer-nano"), frames=128).open(SILENT, empty=True)[0].config.sampling.window == 128


def test_a_sketch_that_cannot_be_drawn() -> None:
    with pytest.raises(UserError, match="0 classes"):
        Subject(Sketch("videomae-s", 0)).open(SILENT)
    with pytest.raises(UserError, match="unknown architecture 'resnet'"):
        Subject(Sketch("resnet")).open(SILENT)
