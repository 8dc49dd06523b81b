"""Multiply-adds of a recogniser by part, for its views and for the one pass over a whole video."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tadshrink.models.body import CLIP_BODY
from tadshrink.models.config import BackboneConfig
from tadshrink.profiling.conventions import find_convention
from tadshrink.profiling.tracing import trace_without_data
from tadshrink.recognition.config import STAGES, RecogniserConfig
from tadshrink.recognition.recogniser import ActionRecogniser


@dataclass(frozen=True)
class RecogniserMacs:
    """Multiply-adds of one call, of all its views or clips together.

    Attributes:
        parts: stem, res2 to res5; or patch_embed and each block ("block:4"), dropped ones with 0; then module, in the one pass, and
            classifier.
        not_counted: how often each operator ran that computes something but is not counted.
        convention: what was counted, see :data:`~tadshrink.profiling.conventions.CONVENTIONS`.
    """

    total: int
    parts: dict[str, int]
    not_counted: dict[str, int]
    convention: str = "full"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return dataclasses.asdict(self)


def view_macs(recogniser: ActionRecogniser, views: int = 1, convention: str = "full") -> RecogniserMacs:
    """Of so many views of a video, each classified on its own; nothing is computed.

    Raises:
        UserError: there is no such convention.
    """
    return _count(recogniser, recogniser, _blank(recogniser.config, views), convention)


def pass_macs(recogniser: ActionRecogniser, convention: str = "full") -> RecogniserMacs:
    """Of the one pass over the clips of a video; nothing is computed.

    Raises:
        UserError: there is no such convention, or no module.
    """
    inputs = _blank(recogniser.config, recogniser.config.sfc.clips if recogniser.config.sfc else 1)
    return _count(recogniser, OnePass(recogniser), inputs, convention)


class OnePass(nn.Module):
    """A recogniser as a network that takes the clips of whole videos, all at once: the graph is small."""

    def __init__(self, recogniser: ActionRecogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, clips: Tensor) -> Tensor:
        """See :meth:`ActionRecogniser.compress`."""
        return self.recogniser.compress(clips, clips.shape[1])


def _count(recogniser: ActionRecogniser, network: nn.Module, inputs: Tensor, convention: str) -> RecogniserMacs:
    chosen = find_convention(convention)
    traced = trace_without_data(network, [inputs], chosen)
    names = _parts(recogniser) if network is recogniser else {part: f"recogniser.{name}" for part, name in _parts(recogniser).items()}
    parts = {part: traced.macs.get(name, 0) for part, name in names.items() if part != "module" or name in traced.macs}
    return RecogniserMacs(traced.macs[""], parts, traced.not_counted, chosen.name)


def _parts(recogniser: ActionRecogniser) -> dict[str, str]:
    """Names of modules by what they are called, as they run."""
    if isinstance(recogniser.config.backbone, BackboneConfig):
        blocks = range(len(recogniser.blocks))
        first = {"patch_embed": "backbone.patch_embed"} | {f"block:{index}": f"{CLIP_BODY.prefix}.{index}" for index in blocks}
    else:
        first = {"stem": "backbone.conv1"} | {stage: f"backbone.layer{number}" for number, stage in enumerate(STAGES, start=1)}
    return first | {"module": "sfc", "classifier": "cls_head"}


def _blank(config: RecogniserConfig, count: int) -> Tensor:
    clip = config.clip
    return torch.empty(1, count, 3, clip.frames, clip.size, clip.size, dtype=torch.uint8, device="meta")
