"""Settings of training recognisers, and modules within them."""

from __future__ import annotations

from tadshrink.settings import setting
from tadshrink.training.settings import PANEL, TrainSettings


class ClipTrainSettings(TrainSettings):
    """Of a recogniser from random weights, on random clips."""

    epochs: int = setting(30, "Passes over the training videos.", PANEL, ge=0)
    batch_size: int = setting(16, "Clips per batch.", PANEL, gt=0)
    lr: float = setting(5e-4, "Peak learning rate.", PANEL, gt=0)
    augment: bool = setting(True, "Change training clips at random.", PANEL)
    clips_per_video: int = setting(2, "Random clips of each video in an epoch.", PANEL, gt=0)
    label_smoothing: float = setting(0.0, "Share of the target that all classes have together.", PANEL, ge=0, lt=1)


class ModuleTrainSettings(TrainSettings):
    """Of an SFC module between a frozen head and a frozen tail."""

    epochs: int = setting(20, "Passes over the training videos.", PANEL, ge=0)
    batch_size: int = setting(16, "Videos per batch.", PANEL, gt=0)
    lr: float = setting(1e-3, "Peak learning rate.", PANEL, gt=0)
    augment: bool = setting(False, "Draw clips at random and change them. Features of the frozen head are then computed in every epoch, "
                                   "otherwise once.", PANEL)
    label_smoothing: float = setting(0.0, "Share of the target that all classes have together.", PANEL, ge=0, lt=1)
    dense_weight: float = setting(0.0, "Share of the loss that compares with what the recogniser says of the same clips one by one, averaged; "
                                       "the rest compares with labels.", PANEL, ge=0, le=1)
    keep_mib: int = setting(2048, "Memory for features of the frozen head that are kept, in MiB.", PANEL, ge=0)
