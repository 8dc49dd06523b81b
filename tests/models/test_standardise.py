from __future__ import annotations

import torch

from tadshrink.models.config import DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.models.standardise import Standardise


def test_by_hand_with_padding_that_stays_zero() -> None:
    layer = Standardise(2)
    layer.measured(torch.tensor([1.0, 20.0]), torch.tensor([2.0, 10.0]))
    features = torch.tensor([[[1.0, 3.0, 0.0], [10.0, 30.0, 0.0]]])
    assert layer(features, torch.tensor([[True, True, False]])).tolist() == [[[0, 1, 0], [-1, 1, 0]]]


def test_a_detector_sees_the_same_at_any_scale() -> None:
    head = HeadConfig(width=8, heads=2, levels=2, regression_ranges=((0, 4), (4, 10000)))
    config = DetectorConfig(classes=("a", "b"), backbone=FeatureConfig(channels=3, normalise=True), head=head,
                            sampling=SamplingConfig(mode="whole", window=8))
    detector = Detector(config).eval()
    assert {"standardise.mean", "standardise.std"} <= detector.state_dict().keys()
    features, masks = torch.randn(2, 3, 8), torch.tensor([[True] * 8, [True] * 5 + [False] * 3])
    before = detector(features * masks[:, None], masks)
    detector.standardise.measured(torch.full((3,), 7.0), torch.full((3,), 4.0))
    after = detector((features * 4 + 7) * masks[:, None], masks)
    for one, other in zip(before.cls_logits, after.cls_logits, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
