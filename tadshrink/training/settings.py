"""Settings that every training run has in common."""

from __future__ import annotations

from tadshrink.settings import Settings, setting

PANEL = "Training"


class TrainSettings(Settings):
    """AdamW, linear warm-up then cosine, gradient clipping, EMA of the weights."""

    epochs: int = setting(50, "Passes over the training split.", PANEL, ge=0)
    batch_size: int = setting(4, "Windows per batch, of all processes together.", PANEL, gt=0)
    accumulate: int = setting(1, "Batches whose gradients are averaged before each step.", PANEL, gt=0)
    lr: float = setting(5e-4, "Peak learning rate.", PANEL, gt=0)
    weight_decay: float = setting(0.05, "Of matrices and convolutions.", PANEL, ge=0)
    warmup: float = setting(0.05, "Share of all steps over which the learning rate rises linearly from 0.", PANEL, ge=0, lt=1)
    clip: float = setting(1.0, "Largest norm of the gradient of all parameters together.", PANEL, gt=0)
    ema: float = setting(0.999, "Decay of the weights' moving average; early steps use a smaller one, (1 + t) / (10 + t).", PANEL, ge=0, lt=1)
    augment: bool = setting(True, "Change training windows at random.", PANEL)
    # Below 2^32, so that the seeds derived from it for each epoch fit torch's generator.
    seed: int = setting(0, "Seed of everything random.", PANEL, ge=0, lt=2**32)
