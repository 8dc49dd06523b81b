from __future__ import annotations

import pytest
import torch
from torch import nn

from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.profiling.narrow import narrow
from tadshrink.profiling.windows import example_window
from tests.profiling.models import FEATURES, VIDEO

CONFIG = VIDEO.model_copy(update={"backbone": VIDEO.backbone.model_copy(update={"width": 16, "heads": 4})})


@torch.inference_mode()
def test_without_what_did_nothing_the_outputs_stay() -> None:
    """Heads and hidden units whose outputs are multiplied by zero are cut out."""
    detector = Detector(CONFIG, [2]).eval()
    for block in (detector.blocks[index] for index in (0, 1, 3)):
        block.attn.q_bias.normal_()
        block.attn.v_bias.normal_()
        block.attn.proj.weight[:, 8:] = 0
        block.mlp.layers[1].weight[:, 40:] = 0
    window = example_window(CONFIG)
    before = detector(*window)
    narrow(detector, [2, 2, 3], [40, 48, 64])
    after = detector(*window)
    assert [(detector.blocks[index].attn.heads, detector.blocks[index].mlp.layers[1].in_features) for index in (0, 1, 3)] == [
        (2, 40), (2, 48), (3, 64)]
    assert detector.blocks[0].attn.qkv.weight.shape == (3 * 8, 16)
    torch.testing.assert_close(after.features, before.features)
    assert not torch.equal(after.features, torch.zeros_like(after.features))


def test_blocks_that_cannot_be_made_narrower() -> None:
    with pytest.raises(UserError, match="only the blocks of a video backbone"):
        narrow(Detector(FEATURES), [1] * 3, [8] * 3)
    with pytest.raises(UserError, match="blocks without one half or with LoRA"):
        narrow(Detector(VIDEO, ["1.mlp"]), [1] * 4, [8] * 4)
    detector = Detector(VIDEO)
    # Wrapped, as by a low-rank update.
    detector.blocks[3].attn.qkv = nn.Sequential(detector.blocks[3].attn.qkv)
    with pytest.raises(UserError, match="merge LoRA first"):
        narrow(detector, [1] * 4, [8] * 4)
