from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.recognition.config import SlowOnlyConfig
from tadshrink.recognition.slow_only import SlowOnly
from tests.recognition.models import SLOW_ONLY, made

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def plain(state: dict[str, Tensor], pixels: Tensor, depths: tuple[int, ...]) -> Tensor:
    """The network once more, from the names of its weights."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        x = F.conv3d(x, weight, None, (1, stride, stride), [size // 2 for size in weight.shape[2:]])
        shape = (1, -1, 1, 1, 1)
        mean, var, gain, bias = (state[f"{name}.bn.{key}"].view(shape) for key in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    x = F.max_pool3d(conv("conv1", pixels, 2).relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = conv(f"{name}.conv2", conv(f"{name}.conv1", x).relu(), stride).relu()
            x = (conv(f"{name}.conv3", inner) + (conv(f"{name}.downsample", x, stride) if block == 0 else x)).relu()
    return x.mean((2, 3, 4))


def test_it_computes_what_its_names_say() -> None:
    network = made(SLOW_ONLY).backbone
    pixels = torch.randn(2, 3, 3, 32, 32)
    expected = plain(network.state_dict(), pixels, SLOW_ONLY.backbone.depths)
    torch.testing.assert_close(network.tail(network.head(pixels, 3), 3), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01


def test_time_is_never_strided_and_every_split_gives_the_same() -> None:
    network = made(SLOW_ONLY).backbone
    pixels = torch.randn(1, 3, 3, 32, 32)
    shapes = [tuple(network.head(pixels, last).shape) for last in range(4)]
    assert shapes == [(1, 16, 3, 8, 8), (1, 32, 3, 4, 4), (1, 64, 3, 2, 2), (1, 128, 3, 1, 1)]
    pooled = [network.tail(network.head(pixels, last), last) for last in range(4)]
    assert all(torch.equal(value, pooled[3]) for value in pooled)
    assert [network.channels(last) for last in range(4)] == [shape[1] for shape in shapes]


def test_names_and_shapes_of_r50_are_mmaction2s() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in SlowOnly(SlowOnlyConfig()).state_dict().items()}
    layers = ["conv1"]
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        layers += [f"layer{stage}.{block}.conv{number}" for block in range(depth) for number in (1, 2, 3)] + [f"layer{stage}.0.downsample"]
    assert set(shapes) == {f"{layer}.{name}" for layer in layers for name in ("conv.weight", *(f"bn.{name}" for name in BN))}
    assert shapes["conv1.conv.weight"] == (64, 3, 1, 7, 7)
    assert shapes["layer1.0.conv1.conv.weight"] == (64, 64, 1, 1, 1)
    assert shapes["layer2.3.conv1.conv.weight"] == (128, 512, 1, 1, 1)
    assert shapes["layer3.5.conv1.conv.weight"] == (256, 1024, 3, 1, 1)
    assert shapes["layer4.0.conv2.conv.weight"] == (512, 512, 1, 3, 3)
    assert shapes["layer4.0.downsample.conv.weight"] == (2048, 1024, 1, 1, 1)


def test_each_bottleneck_starts_as_its_way_around() -> None:
    network = SlowOnly(SlowOnlyConfig(depths=(2, 1, 1, 1), width=4)).eval()
    x = torch.rand(1, 16, 2, 4, 4)
    assert torch.equal(network.layer1[1](x), x)
    assert isinstance(network.layer1[0].downsample.conv, nn.Conv3d)
