"""The video backbone of the published compression: a 3-D ResNet that never strides in time, with the parameter names of mmaction2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.recognition.config import SlowOnlyConfig
from tadshrink.recognition.convolution import VideoConv

#: Channels that a bottleneck gives, for each one inside it.
_EXPANSION = 4


class ConvNorm(nn.Module):
    """A 3-D convolution that keeps time and, but for its stride, space, and a batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], stride: int = 1) -> None:
        super().__init__()
        self.conv = VideoConv(inputs, outputs, kernel, stride)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, t, h, w] -> [n, outputs, t, h / stride, w / stride]."""
        return self.bn(self.conv(x))


class Bottleneck(nn.Module):
    """1x1x1 (or 3x1x1), 1x3x3 with the stride, 1x1x1; the way around is a convolution where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int, temporal: bool, project: bool) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = ConvNorm(inputs, width, (3 if temporal else 1, 1, 1))
        self.conv2 = ConvNorm(width, width, (1, 3, 3), stride)
        self.conv3 = ConvNorm(width, outputs, (1, 1, 1))
        if project:
            self.downsample = ConvNorm(inputs, outputs, (1, 1, 1), stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, t, h, w] -> [n, 4 * width, t, h / stride, w / stride]."""
        around = self.downsample(x) if hasattr(self, "downsample") else x
        return F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))) + around)


class SlowOnly(nn.Module):
    """Stem, four stages, and the mean over time and space."""

    def __init__(self, config: SlowOnlyConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = ConvNorm(3, config.width, (1, 7, 7), 2)
        inputs = config.width
        for stage, (depth, temporal) in enumerate(zip(config.depths, config.temporal, strict=True)):
            width, stride = config.width << stage, 1 if stage == 0 else 2
            blocks = [Bottleneck(inputs if block == 0 else width * _EXPANSION, width, stride if block == 0 else 1, temporal, block == 0)
                      for block in range(depth)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = width * _EXPANSION
        self.apply(_initialise)

    @property
    def stages(self) -> list[nn.Module]:
        """res2 to res5."""
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    @property
    def outputs(self) -> int:
        """Channels of what :meth:`tail` gives."""
        return self.channels(len(self.stages) - 1)

    def channels(self, last: int) -> int:
        """Channels of the features after a stage."""
        return (self.config.width << last) * _EXPANSION

    def head(self, pixels: Tensor, last: int) -> Tensor:
        """Normalised pixels [n, 3, F, H, W] -> features after stage ``last`` (0 is res2), [n, C, F, h, w]."""
        x = F.max_pool3d(F.relu(self.conv1(pixels)), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for stage in self.stages[: last + 1]:
            x = stage(x)
        return x

    def tail(self, features: Tensor, last: int) -> Tensor:
        """Features after stage ``last`` [n, C, T, h, w], of any number of steps -> [n, outputs]."""
        for stage in self.stages[last + 1 :]:
            features = stage(features)
        return features.mean((2, 3, 4))


def _initialise(module: nn.Module) -> None:
    """Weights for training from scratch: He's for convolutions, and each bottleneck starts as its way around alone."""
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, Bottleneck):
        nn.init.zeros_(module.conv3.bn.weight)
