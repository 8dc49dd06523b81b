"""Settings that every training run has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """AdamW, linear warm-up then cosine, gradient clipping, EMA of the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    epochs: int = Field(50, ge=0)
    batch_size: int = Field(4, gt=0)
    lr: float = Field(5e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    #: Share of all steps over which the learning rate rises linearly from 0.
    warmup: float = Field(0.05, ge=0, lt=1)
    #: Largest norm of the gradient of all parameters together.
    clip: float = Field(1.0, gt=0)
    #: Decay of the weights' moving average; early steps use a smaller one, (1 + t) / (10 + t).
    ema: float = Field(0.999, ge=0, lt=1)
    augment: bool = True
    #: Below 2^32, so that the seeds derived from it for each epoch fit torch's generator.
    seed: int = Field(0, ge=0, lt=2**32)
