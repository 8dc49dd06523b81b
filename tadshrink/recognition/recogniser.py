"""The whole recogniser: a backbone that can be split, the compressing module if it has one, and the classification layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.blocks import DroppableBlocks
from tadshrink.models.config import BackboneConfig
from tadshrink.models.detector import weight_problems
from tadshrink.models.units import Unit, gone
from tadshrink.recognition.config import STAGES, RecogniserConfig, SfcConfig, check_sizes, split_place
from tadshrink.recognition.sfc_module import SfcModule
from tadshrink.recognition.slow_only import SlowOnly
from tadshrink.recognition.vit_backbone import VitBackbone

#: Name of the droppable blocks in state dicts, and how the names of the module's weights begin.
BLOCKS, MODULE = "backbone.blocks", "sfc."


class ClassHead(nn.Module):
    """The classification layer, under mmaction2's name."""

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = nn.Linear(inputs, classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """[n, inputs] -> logits [n, K]."""
        return self.fc_cls(self.dropout(pooled))


class ActionRecogniser(nn.Module):
    """Says which action a trimmed video shows.

    Args:
        dropped: units of a ViT that do not exist any more: blocks by their original indices, or halves of them.

    Raises:
        UserError: the sizes in ``config`` do not fit together, or there is nothing to drop.
    """

    def __init__(self, config: RecogniserConfig, dropped: Iterable[Unit] = ()) -> None:
        super().__init__()
        check_sizes(config)
        self.config = config
        vit = isinstance(config.backbone, BackboneConfig)
        self.backbone = VitBackbone(config.backbone) if vit else SlowOnly(config.backbone)
        self.cls_head = ClassHead(self.backbone.outputs, len(config.classes), 0.0 if vit else config.backbone.dropout)
        self.sfc = SfcModule(self.backbone.channels(self._last), config.sfc) if config.sfc else None
        for name, values in (("mean", config.mean), ("std", config.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1, 1), persistent=False)
        for unit in dropped:
            self.blocks.drop(unit)

    @property
    def _last(self) -> int:
        """The last stage or block of the head; the very last one where there is no module."""
        if self.config.sfc:
            return split_place(self.config.backbone, self.config.sfc.split)
        return len(STAGES) - 1 if isinstance(self.backbone, SlowOnly) else self.config.backbone.depth - 1

    @property
    def blocks(self) -> DroppableBlocks:
        """The droppable blocks.

        Raises:
            UserError: a slow-only network has none.
        """
        if isinstance(self.backbone, SlowOnly):
            raise UserError("a slow-only network has no blocks that can be dropped", fix="Give a recogniser with a ViT")
        return self.backbone.blocks

    def train(self, mode: bool = True) -> ActionRecogniser:
        """Train the module alone, if there is one: head and tail then stay as in evaluation, batch norms and dropout included."""
        super().train(mode)
        if self.sfc is not None:
            self.backbone.eval()
            self.cls_head.eval()
        return self

    def freeze(self) -> None:
        """Leave only the module's parameters to training, if there is one."""
        for part in (self.backbone, self.cls_head):
            part.requires_grad_(self.sfc is None)

    def head(self, clips: Tensor) -> Tensor:
        """Up to and with the split: uint8 RGB [n, 3, F, S, S] -> features [n, C, t, h, w]."""
        return self.backbone.head((clips - self.mean).div_(self.std), self._last)

    def tail(self, features: Tensor) -> Tensor:
        """What follows the split: features [B, C, T, h, w], of any number of steps -> logits [B, K]."""
        return self.cls_head(self.backbone.tail(features, self._last))

    def forward(self, views: Tensor) -> Tensor:
        """Each view on its own, without the module: uint8 RGB [B, V, 3, F, S, S] -> logits [B, V, K]."""
        return self.tail(self.head(views.flatten(0, 1))).unflatten(0, tuple(views.shape[:2]))

    def features(self, clips: Tensor, at_once: int = 1) -> Tensor:
        """What the module is given: uint8 RGB [B, N, 3, F, S, S], in the order of time -> [B, C, N * t, h, w].

        Args:
            at_once: clips of each video that the head takes together, and has the memory of.
        """
        parts = [self.head(part.flatten(0, 1)).unflatten(0, (len(part), -1)) for part in clips.split(at_once, dim=1)]
        return torch.cat([part.transpose(1, 2).flatten(2, 3) for part in parts], dim=2)

    def finish(self, features: Tensor) -> Tensor:
        """What follows :meth:`features`: logits [B, K].

        Raises:
            UserError: there is no module.
        """
        if self.sfc is None:
            raise UserError("this recogniser has no compressing module", fix="First: tadshrink sfc train CKPT -o OUT")
        return self.tail(self.sfc(features))

    def compress(self, clips: Tensor, at_once: int = 1) -> Tensor:
        """The clips of a whole video in one pass through module and tail: uint8 RGB [B, N, 3, F, S, S] -> logits [B, K].

        Args:
            at_once: see :meth:`features`.

        Raises:
            UserError: there is no module.
        """
        return self.finish(self.features(clips, at_once))


def build_recogniser(config: RecogniserConfig, state: Mapping[str, Tensor], dropped: Iterable[Unit], where: object) -> ActionRecogniser:
    """A recogniser in eval mode with exactly these weights.

    Args:
        state: weights by mmaction2's names.
        where: named in errors, usually the path of the checkpoint.

    Raises:
        UserError: a weight is missing, left over or of another shape.
    """
    recogniser = ActionRecogniser(config, dropped)
    if problems := weight_problems(recogniser.state_dict(), state):
        fix = "Give the architecture and the dropped blocks that these weights were made with"
        raise UserError(f"weights do not fit the architecture: {problems}", where=where, fix=fix)
    recogniser.load_state_dict(dict(state))
    return recogniser.eval()


def with_module(recogniser: ActionRecogniser, sfc: SfcConfig) -> ActionRecogniser:
    """The same weights around a new module, in place of the one that there was, if any; in eval mode.

    Raises:
        UserError: the network cannot be split there, or the settings do not fit together.
    """
    config = recogniser.config.model_copy(update={"sfc": sfc})
    dropped = gone(config.block_count, recogniser.blocks.left) if config.block_count else ()
    made = ActionRecogniser(config, dropped)
    kept = {name: value for name, value in recogniser.state_dict().items() if not name.startswith(MODULE)}
    made.load_state_dict(made.state_dict() | kept)
    return made.eval()
