from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tadshrink.models.convolution import DepthwiseConv, LateralConv, PointwiseConv, TemporalConv


@pytest.mark.parametrize("length", [1, 2, 7])
def test_temporal_convolution_is_the_convolution(length: int):
    conv, x = TemporalConv(5, 3, bias=True), torch.randn(2, length, 5)
    expected = F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected.transpose(1, 2))


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolution_is_the_convolution(stride: int):
    conv, x = DepthwiseConv(5, stride), torch.randn(2, 6, 5)
    mask = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])[None, ::stride, None]
    expected = F.conv1d(x.transpose(1, 2), conv.conv.weight, stride=stride, padding=1, groups=5)
    torch.testing.assert_close(conv(x, mask), expected.transpose(1, 2) * mask)


def test_pointwise_convolution_is_the_convolution():
    conv, x = PointwiseConv(5, 3), torch.randn(2, 6, 5)
    expected = F.conv1d(x.transpose(1, 2), conv.state_dict()["weight"], conv.bias)
    torch.testing.assert_close(conv(x), expected.transpose(1, 2))


def test_a_pointwise_weight_is_stored_as_that_of_a_convolution():
    conv, other = PointwiseConv(5, 3), PointwiseConv(5, 3)
    stored = conv.state_dict()
    assert stored["weight"].shape == (3, 5, 1)
    other.load_state_dict(stored)
    assert torch.equal(other.weight, conv.weight)
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict({**stored, "weight": torch.zeros(3, 5, 2)})


def test_lateral_convolution_masks():
    conv, x = LateralConv(2, 3), torch.randn(1, 2, 2)
    y = conv(x, torch.tensor([[[1.0], [0.0]]]))
    torch.testing.assert_close(y[0, 0], conv.state_dict()["conv.weight"][:, :, 0] @ x[0, 0])
    assert not y[0, 1].any()
