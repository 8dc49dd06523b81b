from __future__ import annotations

import torch
from peft.tuners.lora import Linear

from tadshrink.compress.fused_lora import FusedLinear
from tadshrink.compress.lora import add_lora, merged_copy
from tadshrink.models.detector import Detector


def updated(tiny, **options: object) -> Detector:
    torch.manual_seed(0)
    detector = Detector(tiny.config)
    add_lora(detector, 4, 8.0, ["qkv", "proj"], seed=0, init="published", **options)
    for name, value in detector.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(value, 0, 0.1)
    return detector


def test_it_is_the_product_of_peft_and_exactly_that_of_the_merged_layer(tiny) -> None:
    detector, tokens = updated(tiny), torch.randn(2, 8, 16)
    layer = detector.blocks[0].attn.qkv
    assert type(layer) is FusedLinear
    fused = layer(tokens)
    torch.testing.assert_close(fused, Linear.forward(layer, tokens))
    assert torch.equal(fused, merged_copy(detector).blocks[0].attn.qkv(tokens))


def test_the_updates_get_the_same_gradients(tiny) -> None:
    detector, tokens = updated(tiny), torch.randn(2, 8, 16)
    layer = detector.blocks[0].attn.qkv
    parameters = [value for value in layer.parameters() if value.requires_grad]
    assert len(parameters) == 2
    weights = torch.randn(2, 8, 48)
    ours, theirs = (torch.autograd.grad((forward(tokens) * weights).sum(), parameters)
                    for forward in (layer, lambda tokens: Linear.forward(layer, tokens)))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_dora_stays_as_it_is(tiny) -> None:
    assert type(updated(tiny, dora=True).blocks[0].attn.qkv) is Linear
