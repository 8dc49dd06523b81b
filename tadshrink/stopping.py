"""When a run ends, and the sentence that says why and what was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tadshrink.checkpoint.wording import counted
from tadshrink.compress.target import DropBudget
from tadshrink.models.units import NOUN, NOUNS, Unit, split_unit
from tadshrink.run_settings import RunSettings


def is_back(settings: RunSettings, pruned: bool, reached: float, wanted: float) -> bool:
    """Whether a step is kept by its held-out average mAP, beside the baseline's; without alignment, nothing is asked of it.

    Args:
        pruned: by this step; else it dropped.
    """
    align = settings.align.after_pruning if pruned else settings.align
    return not align.heals or reached >= wanted - settings.tolerance


@dataclass(frozen=True)
class StopRule:
    """Of a run with this budget. Models are as they were measured: ``latency_ms``, ``blocks``, ``heldout``."""

    budget: DropBudget
    settings: RunSettings

    def fast_enough(self, model: dict[str, Any]) -> str | None:
        """Why nothing more need be dropped from a model, where a latency is the target."""
        limit = self.budget.latency_ms
        if limit is None or model["latency_ms"] > limit:
            return None
        return f"the target is met: a window takes {model['latency_ms']:.1f} ms with {counted(model['blocks'], 'block')}"

    def fallen(self, dropped: list[Unit], step: dict[str, Any], before: dict[str, Any]) -> str | None:
        """Why a step is not kept: accuracy on held-out videos has not come back. Without alignment, nothing is asked of it.

        Args:
            dropped: by this step; nothing where it pruned.
        """
        reached, wanted = (model["heldout"]["average_map"] for model in (step, before))
        if is_back(self.settings, not dropped, reached, wanted):
            return None
        lost = f"without {self._named(dropped)}" if dropped else "after channel pruning"
        return (f"{lost} the held-out average mAP stays at {reached:.2f}, more than "
                f"{self.settings.tolerance:g} below the baseline's {wanted:.2f}")

    def exhausted(self) -> str:
        """Why a run ends after all its steps."""
        limit = self.budget.latency_ms
        if limit is None:
            return f"the target is met: {self.budget.reason}"
        if self.settings.schedule != "progressive":
            return f"the latency target of {limit:g} ms is missed"
        return f"the latency target of {limit:g} ms is out of reach: one {NOUN[self.settings.unit]} is left"

    def sentence(self, reason: str, gone: list[Unit], pruned: float = 0.0) -> str:
        """The reason, and what was kept.

        Args:
            pruned: share of the baseline's MACs that was taken out of the blocks that are left.
        """
        kept = f"the model without {self._named(gone)}" if gone else "the baseline"
        return f"{reason}; kept is {kept}{f', with {pruned:.1%} of the MACs pruned from its blocks' if pruned else ''}"

    def _named(self, chosen: list[Unit]) -> str:
        nouns = NOUN if len(chosen) == 1 else NOUNS
        return f"{nouns[self.settings.unit]} {', '.join(str(split_unit(unit)[0]) for unit in chosen)}"
