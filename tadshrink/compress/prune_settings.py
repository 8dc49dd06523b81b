"""Settings of channel pruning. Imports nothing heavy, as help is made of them."""

from __future__ import annotations

from typing import Literal

from tadshrink.settings import Settings, setting

PANEL = "Pruning"
Importance = Literal["magnitude", "taylor", "random"]
IMPORTANCE = ("By what heads and hidden units are ranked beside the others of their block: magnitude (L2 norm of their weights), taylor (sum "
              "of |weight x gradient| of the loss on held-out videos), random (a control).")


class PruneSettings(Settings):
    """What goes, and how far."""

    target: str = setting("25%", "Share of the detector's multiply-adds that is to go.", PANEL)
    importance: Importance = setting("magnitude", IMPORTANCE, PANEL)
    batch_size: int = setting(8, "Windows per batch, for taylor.", PANEL, gt=0)
    seed: int = setting(0, "Seed of random scores.", PANEL, ge=0, lt=2**32)
