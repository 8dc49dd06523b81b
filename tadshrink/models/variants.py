"""Where the two code bases of ActionFormer compute different things with the same weights, as one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """Arithmetic of one code base.

    Attributes:
        norm_eps: of the LayerNorms in the embedding, neck and head (those of the transformer blocks have 1e-5 in both).
        mask_after_norm: padding is zeroed again after norm and ReLU; otherwise it leaks into the cells beside it.
        mask_outputs: logits and offsets of padding are zero.
        offset_loss: boundaries are compared as distances from the point in strides of its level, not as segments in grid cells.
        loss_eps: least union and hull in the regression loss.
        running_normaliser: losses are divided by the running number of positives even in evaluation.
    """

    norm_eps: float
    mask_after_norm: bool
    mask_outputs: bool
    offset_loss: bool
    loss_eps: float
    running_normaliser: bool


VARIANTS: dict[str, Variant] = {
    "opentad": Variant(norm_eps=1e-6, mask_after_norm=True, mask_outputs=False, offset_loss=False, loss_eps=1e-7, running_normaliser=False),
    "actionformer": Variant(norm_eps=1e-5, mask_after_norm=False, mask_outputs=True, offset_loss=True, loss_eps=1e-8, running_normaliser=True),
}
