"""The whole recogniser: a backbone that can be split, the compressing module if it has one, and the classification layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.blocks import DroppableBlocks
from tadshrink.models.body import CLIP_BODY
from tadshrink.models.config import BackboneConfig
from tadshrink.models.detector import load_exactly
from tadshrink.models.units import Unit, gone
from tadshrink.models.vit import normalised
from tadshrink.recognition.config import STAGES, RecogniserConfig, SfcConfig, check_sizes, split_place
from tadshrink.recognition.sfc_module import SfcModule
from tadshrink.recognition.slow_only import SlowOnly
from tadshrink.recognition.vit_backbone import VitBackbone

#: How the names of the module's weights begin.
MODULE = "sfc."
#: Clips of a video that the head takes together in the one pass: the memory of all of them would be that of many views again.
AT_ONCE = 2


@dataclass
class RecogniserOutput:
    """What the recogniser says of videos, in the form in which detectors do: one point, which stands for the whole video.

    Attributes:
        features: pooled features of each view, or each group of steps, [B, D, G].
        class_logits: [B, K], before the softmax.
    """

    features: Tensor
    class_logits: Tensor

    def logits(self) -> Tensor:
        """[B, 1, K]."""
        return self.class_logits[:, None]

    def valid(self) -> Tensor:
        """bool [B, 1]: no point is padding."""
        return self.class_logits.new_ones(len(self.class_logits), 1, dtype=torch.bool)

    def segments(self) -> Tensor:
        """[B, 1, 2], all 0: a trimmed video has no boundaries."""
        return self.class_logits.new_zeros(len(self.class_logits), 1, 2)


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
        limit = self.backbone.steps if vit else None
        self.sfc = SfcModule(self.backbone.channels(self._last), config.sfc, limit) if config.sfc else None
        if vit:
            self.body = CLIP_BODY
            self.blocks.joint = (self._last, self._join) if config.sfc else None
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
        return self.backbone.head(normalised(clips, self.mean, self.std), self._last)

    def tail(self, features: Tensor) -> Tensor:
        """What follows the split: features [B, C, T, h, w], of any number of steps -> logits [B, K]."""
        return self.cls_head(self.backbone.tail(features, self._last))

    def forward(self, views: Tensor) -> Tensor:
        """Each view on its own, without the module: uint8 RGB [B, V, 3, F, S, S] -> logits [B, V, K]."""
        return self.tail(self.head(views.flatten(0, 1))).unflatten(0, tuple(views.shape[:2]))

    def clip_features(self, clips: Tensor, at_once: int = AT_ONCE) -> Tensor:
        """What the module is given: uint8 RGB [B, N, 3, F, S, S], in the order of time -> [B, C, N * t, h, w].

        Args:
            at_once: clips of each video that the head takes together, and has the memory of.
        """
        parts = [self.head(part.flatten(0, 1)).unflatten(0, (part.shape[0], -1)) for part in clips.split(at_once, dim=1)]
        return torch.cat([part.transpose(1, 2).flatten(2, 3) for part in parts], dim=2)

    def _join(self, tokens: Tensor, videos: int) -> Tensor:
        """The module as the blocks see it: tokens of the clips of so many videos [B * N, n, D] -> those of as few groups of steps as the
        tail can take, [B * G, n', D]."""
        side = self.config.clip.size // self.config.backbone.patch_size
        features = tokens.view(videos, -1, side, side, tokens.shape[-1]).permute(0, 4, 1, 2, 3)
        return self.backbone.grouped(self.sfc(features.contiguous()))

    def embed(self, inputs: Tensor, masks: Tensor) -> Tensor:
        """What goes into the first block: views uint8 RGB [B, V, 3, F, S, S] -> tokens [B * V, n, D].

        Args:
            masks: bool [B, V], all true; tells how many videos there are.
        """
        tokens = self.backbone.embed(normalised(inputs.flatten(0, 1), self.mean, self.std))
        return self.blocks.join(-1, tokens, len(masks))

    def run_blocks(self, tokens: Tensor, masks: Tensor, first: int = 0, last: int | None = None, skipped: Collection[Unit] = ()) -> Tensor:
        """:meth:`~tadshrink.models.blocks.DroppableBlocks.run`, through the module, if there is one."""
        return self.blocks.run(tokens, len(masks), first, last, skipped)

    def pool(self, tokens: Tensor, masks: Tensor) -> Tensor:
        """What comes out of the last block -> a feature for each view, or group of steps, of a video: [B, D, G]."""
        return self.backbone.fc_norm(tokens.mean(1)).unflatten(0, (len(masks), -1)).transpose(1, 2)

    def finish(self, features: Tensor, masks: Tensor) -> RecogniserOutput:
        """Everything after :meth:`pool`. Views of a video are as one: their features are averaged."""
        return RecogniserOutput(features, self.cls_head(features.mean(2)))

    def dense(self, features: Tensor, clips: int) -> Tensor:
        """What the tail makes of each of so many clips without a module: features [B, C, N * t, h, w] -> mean class probabilities
        float32 [B, K], as dense testing has them."""
        alone = features.unflatten(2, (clips, -1)).transpose(1, 2).flatten(0, 1)
        return self.tail(alone).float().softmax(-1).unflatten(0, (-1, clips)).mean(1)

    def finish_clips(self, features: Tensor) -> Tensor:
        """What follows :meth:`clip_features`: logits [B, K].

        Raises:
            UserError: there is no module.
        """
        if self.sfc is None:
            raise UserError("this recogniser has no compressing module", fix="First: tadshrink sfc train CKPT -o OUT")
        return self.tail(self.sfc(features))

    def compress(self, clips: Tensor, at_once: int = AT_ONCE) -> Tensor:
        """The clips of a whole video in one pass through module and tail: uint8 RGB [B, N, 3, F, S, S] -> logits [B, K].

        Args:
            at_once: see :meth:`clip_features`.

        Raises:
            UserError: there is no module.
        """
        return self.finish_clips(self.clip_features(clips, at_once))

    def check_way(self, together: bool, where: object) -> None:
        """Raise a :class:`UserError` for the one pass without a module; ``where`` names the file."""
        if together and self.sfc is None:
            raise UserError("this recogniser has no compressing module", where=where, fix="First: tadshrink sfc train, or give other --views")

    def probabilities(self, clips: Tensor, together: bool) -> Tensor:
        """Class probabilities float32 [n, K]: of views [n, 3, F, S, S] one by one, or of the clips of videos [n, N, 3, F, S, S] together.

        Raises:
            UserError: ``together`` without a module.
        """
        logits = self.compress(clips) if together else self(clips[:, None])[:, 0]
        return logits.float().softmax(-1).cpu()


def build_recogniser(config: RecogniserConfig, state: Mapping[str, Tensor], dropped: Iterable[Unit], where: object) -> ActionRecogniser:
    """A recogniser in eval mode with exactly these weights.

    Args:
        state: weights by mmaction2's names.
        where: named in errors, usually the path of the checkpoint.

    Raises:
        UserError: a weight is missing, left over or of another shape.
    """
    return load_exactly(ActionRecogniser(config, dropped), state, where)


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
