"""A head start without training: what a dropped block did is folded into the block before it, as far as that can do it.

A pre-norm block only adds to the residual stream, so a linear map of the whole stream does not fold into any of its weights. But the
last linear layer before the gap does: its inputs ``h`` stay what they are, whatever becomes of its weight. With ``z`` the teacher's stream
after the dropped blocks and ``y`` the student's, ridge regression of ``z - y`` on ``h`` gives what is added to that layer's weight and
bias: exactly the correction, at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tadshrink.compress.fitting import Moments, fit_factors, fit_linear
from tadshrink.compress.trace import Trace, run_traced
from tadshrink.data.loader import Batch, with_last
from tadshrink.device import Compute
from tadshrink.models.attention import ScaledPath
from tadshrink.models.blocks import HalvedBlock
from tadshrink.models.detector import Detector
from tadshrink.models.vit import Block
from tadshrink.reporting import SILENT, Reporter

#: One batch in so many (of fewer, the last) is not fitted on: it chooses the ridge, and tells whether anything was gained.
CHECKED = 4
#: A channel of a branch that counts less than this cannot be corrected through it.
LEAST_GAIN = 1e-4


@dataclass(frozen=True)
class Carrier:
    """The last linear layer before a gap; its output counts ``gain`` times, a number or one per channel."""

    layer: nn.Linear
    gain: Tensor

    @property
    def weight(self) -> Tensor:
        """What the layer does to the residual stream, float64 ``[outputs, inputs]``."""
        return (self.gain * self.layer.weight).double()

    @property
    def reached(self) -> Tensor:
        """Channels that the layer can change, bool ``[outputs]`` or ``[1]``."""
        return self.gain[:, 0].abs() > LEAST_GAIN

    def add(self, solution: Tensor) -> None:
        """Let the layer add this to the stream as well: ``[inputs + 1, outputs]``, the constant last."""
        change = torch.where(self.reached[:, None], solution.T / self.gain.double(), 0.0).to(self.layer.weight)
        self.layer.weight += change[:, :-1]
        self.layer.bias += change[:, -1]


@torch.no_grad()
def head_start(student: Detector, teacher: Detector, kind: str, batches: Callable[[], Iterable[Batch]], compute: Compute,
               reporter: Reporter = SILENT) -> list[int]:
    """Correct the student in place, gap by gap from the first to the last.

    Args:
        kind: "linear", or "rescale", which gives every output of the layer only a factor.
        batches: the windows to fit on, drawn again for every gap.

    Returns:
        original indices of the blocks that were changed.
    """
    student.eval()
    teacher.eval()
    changed = []
    found = gaps(student, teacher)
    if not found:
        reporter.note("head start: the student has every block of its teacher, so there is nothing to correct")
    for block, target in found.items():
        if block is None or _crosses(student, block, target):
            reporter.note(f"head start: nothing before block {target} can take over its work")
            continue
        carrier = last_layer(student.blocks[block])
        fitted, checked = _measure(student, teacher, block, target, carrier, batches(), compute)
        solution = fit_linear(fitted, checked) if kind == "linear" else fit_factors(fitted, carrier.weight)
        solution = torch.where(carrier.reached, solution, 0.0)
        before, after = checked.error(torch.zeros_like(solution)), checked.error(solution)
        if after < before:
            carrier.add(solution)
            changed.append(block)
        what = f"falls from {before:.4g} to {after:.4g}" if after < before else f"stays at {before:.4g}; at best it would be {after:.4g}"
        where = f"{checked.windows} windows not fitted on" if checked is not fitted else "the windows fitted on, as there is one batch"
        reporter.note(f"head start ({kind}, in block {block}, fitted on {fitted.windows} windows): the squared error after block {target}, on "
                      f"{where}, {what}")
    return changed


def gaps(student: Detector, teacher: Detector) -> dict[int | None, int]:
    """For every block of the student with a gap behind it, the last block of the teacher that is in that gap.

    A block that lost a half is its own gap. ``None`` stands for what is before the first block.
    """
    ours, theirs = student.blocks.left, teacher.blocks.left
    found: dict[int | None, int] = {}
    block = None
    for index, halves in theirs.items():
        if index in ours:
            block = index
        if ours.get(index) != halves:
            found[block] = index
    return found


def last_layer(block: HalvedBlock) -> Carrier:
    """The last linear layer of a block whose output goes into the residual stream and nowhere else."""
    if hasattr(block, "adapter"):
        return Carrier(block.adapter.up_proj, block.adapter.gamma[:, None])
    half = block.halves[-1]
    if isinstance(block, Block):
        layer, path = (block.mlp.layers[1] if half == "mlp" else block.attn.proj), None
    else:
        layer, path = (block.mlp[3], block.drop_path_mlp) if half == "mlp" else (block.attn.proj, block.drop_path_attn)
    gain = path.scale.view(-1, 1) if isinstance(path, ScaledPath) else layer.weight.new_ones(1, 1)
    return Carrier(layer, gain)


def _measure(student: Detector, teacher: Detector, block: int, target: int, carrier: Carrier, batches: Iterable[Batch],
             compute: Compute) -> tuple[Moments, Moments]:
    """Moments of the layer's inputs and of what is missing after it; of the batches to fit on, and of the others."""
    device = carrier.layer.weight.device
    both = tuple(Moments(carrier.layer.in_features, carrier.layer.out_features, device) for _ in range(2))
    seen: list[Tensor] = []
    handle = carrier.layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        for number, (batch, last_one) in enumerate(with_last(batches)):
            inputs, masks = batch.inputs.to(device), batch.masks.to(device)
            with compute.autocast():
                ours, theirs = (_after(model, inputs, masks, last) for model, last in ((student, block), (teacher, target)))
            rows = _rows(student, masks)
            kept_out = number % CHECKED == CHECKED - 1 or (last_one and 0 < number < CHECKED)
            both[kept_out].add(rows(seen.pop()), rows(theirs) - rows(ours), windows=len(inputs))
    finally:
        handle.remove()
    fitted, checked = (moments.everyones() for moments in both)
    return fitted, checked if checked.rows else fitted


def _after(model: Detector, inputs: Tensor, masks: Tensor, block: int) -> Tensor:
    """What comes out of a block."""
    trace = Trace()
    run_traced(model, model.embed(inputs, masks), masks, trace, last=block)
    return trace.outputs[block]


def _crosses(student: Detector, block: int, target: int) -> bool:
    """Whether the joint, after which tokens are others than before, lies between two blocks."""
    joint = student.blocks.joint
    return joint is not None and block <= joint[0] < target


def _rows(detector: Detector, masks: Tensor) -> Callable[[Tensor], Tensor]:
    """Tokens ``[n, tokens, D]`` as rows ``[rows, D]``, of features without padding."""
    content = detector.body.content(detector, masks)
    return lambda tokens: (tokens.flatten(0, 1) if content is None else tokens[content]).float()
