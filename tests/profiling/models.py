"""Small detectors to profile."""

from __future__ import annotations

from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig

VIDEO = DetectorConfig(
    classes=("a", "b"),
    backbone=BackboneConfig(width=8, depth=4, heads=2, table_size=32),
    head=HeadConfig(width=4, heads=2, levels=2, regression_ranges=((0, 4), (4, 100))),
    sampling=SamplingConfig(window=8, frames_per_cell=2, frame_size=32),
)
FEATURES = DetectorConfig(
    classes=("a", "b"), backbone=FeatureConfig(channels=6), sampling=SamplingConfig(window=32, mode="whole"),
    head=HeadConfig(width=8, heads=2, levels=2, stem_layers=3, regression_ranges=((0, 4), (4, 100))),
)
#: The same as files that --arch takes.
VIDEO_YAML = """
backbone: {width: 8, depth: 4, heads: 2, table_size: 32}
head: {width: 4, heads: 2, levels: 2, regression_ranges: [[0, 4], [4, 100]]}
sampling: {window: 8, frames_per_cell: 2, frame_size: 32}
"""
