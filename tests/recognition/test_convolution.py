from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tadshrink.recognition.convolution import VideoConv


@pytest.mark.parametrize(("kernel", "stride", "flat"), [
    ((3, 1, 1), 1, True), ((5, 1, 1), 1, True), ((3, 1, 1), 2, False), ((1, 1, 1), 1, False), ((1, 3, 3), 2, False), ((3, 3, 1), 1, False),
])  # fmt: skip
def test_however_it_is_computed(kernel: tuple[int, int, int], stride: int, flat: bool) -> None:
    conv, x = VideoConv(4, 5, kernel, stride), torch.randn(2, 4, 6, 4, 3)
    assert conv.flat is flat
    expected = F.conv3d(x, conv.weight, None, (1, stride, stride), tuple(size // 2 for size in kernel))
    torch.testing.assert_close(conv(x), expected, rtol=1e-5, atol=1e-6)
    assert expected.shape[2:] == (6, -(-4 // stride), -(-3 // stride))
