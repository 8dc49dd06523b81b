"""What is trained of a model without some blocks, and what it has in common with its teacher."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tadshrink.compress.lora import add_lora, before, heal_parameters, layers_of
from tadshrink.compress.pruning import TOGETHER
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.trace import ENTRY
from tadshrink.distributed import check_shares, world
from tadshrink.errors import UserError
from tadshrink.models.body import block_sizes
from tadshrink.models.detector import Detector
from tadshrink.models.units import gone, split_unit


def make_student(detector: Detector, settings: AlignSettings, first: int | None = None) -> dict[str, Any] | None:
    """Choose what is trained, in place, and add LoRA if the settings ask for it.

    By LoRA are trained: updates of the blocks' matrices, the blocks' norms and other small parts, and all that is not a block.

    Args:
        first: as from :func:`first_trained`.

    Returns:
        rank, alpha and targets of the updates as in a checkpoint, without the updates; ``None`` without LoRA.
    """
    detector.requires_grad_(False)
    lora = None
    if settings.heal == "lora":
        rank = _rank(detector, settings)
        alpha = (settings.alpha or float(rank)) * (rank**0.5 if settings.rslora else 1.0)
        targets = present(detector, settings)
        add_lora(detector, rank, alpha, targets, settings.seed, settings.lora_init, settings.dora, first or 0)
        lora = {"rank": rank, "alpha": alpha, "targets": targets, "state": {}} if targets else None
    if settings.heal != "none":
        for parameter in heal_parameters(detector, first, settings.heal == "full"):
            parameter.requires_grad_(True)
    return lora


def present(detector: Detector, settings: AlignSettings) -> list[str]:
    """Ends of the names of the layers that are to get updates, as far as there are any: halves of blocks may be gone."""
    ends = (end for layer in settings.lora_targets for end in detector.body.layers[layer])
    return [end for end in ends if layers_of(detector, [end])]


def _rank(detector: Detector, settings: AlignSettings) -> int:
    return settings.rank or max(1, detector.config.compute_width // 4)


def check_settings(detector: Detector, settings: AlignSettings) -> None:
    """Find out before any work that a detector cannot be aligned so.

    Raises:
        UserError: a rank that the layers or the start of the updates do not take, a batch that the processes cannot share, or a
            distillation that is 0 for this model.
    """
    rank, width = _rank(detector, settings), detector.config.compute_width
    if settings.heal == "lora" and rank > width:
        raise UserError(f"LoRA of rank {rank} for layers that are {width} wide", fix="Give a smaller --rank")
    if settings.heal == "lora" and settings.lora_init == "orthogonal" and rank % 2:
        raise UserError(f"updates of rank {rank} cannot start orthogonal", fix="Give an even --rank, or another --lora-init")
    if settings.heal == "lora":
        _check_start(rank, min(_widths(detector, settings)), settings)
    if settings.heals:
        check_shares(settings.batch_size, world())
    if settings.cls_kd_weight and settings.cls_kd != "binary" and len(detector.config.classes) == 1:
        raise UserError(f"class distillation by {settings.cls_kd} is always 0 for a model of one class", fix="Give --cls-kd binary")


def check_pruned(detector: Detector, settings: AlignSettings) -> None:
    """:func:`check_settings` for what channel pruning may leave of a detector: one head, and a few hidden units of a block.

    Raises:
        UserError: a start of the updates that so narrow layers do not take.
    """
    if settings.heal == "lora":
        head = detector.config.compute_width // getattr(detector.config, detector.body.part).heads
        narrow = {"qkv": head, "proj": head, "fc1": TOGETHER, "fc2": TOGETHER}
        _check_start(_rank(detector, settings), min(narrow[layer] for layer in settings.lora_targets), settings)


def _check_start(rank: int, width: int, settings: AlignSettings) -> None:
    """Starts that are made of a layer's own singular or orthogonal vectors have no more of them than it is wide."""
    if settings.lora_init in ("pissa", "olora") and rank > width:
        raise UserError(f"updates of rank {rank} cannot start {settings.lora_init} where a layer is {width} wide, or may be after pruning",
                        fix=f"Give --rank {width} or less, or another --lora-init")


def _widths(detector: Detector, settings: AlignSettings) -> Iterator[int]:
    """The lesser side of each matrix that gets updates."""
    yield detector.config.compute_width
    yield from (min(layer.weight.shape[:2]) for layer in layers_of(detector, present(detector, settings)).values())


def described(detector: Detector, settings: AlignSettings) -> str:
    """What is trained and how, in words."""
    if settings.heal == "full":
        return "all weights are trained" + (" from the first cut on" if settings.lora_blocks == "after-cut" else "")
    if settings.heal == "none":
        return "nothing is trained" + ("" if settings.init != "none" else ", and there is no head start: the weights stay as they are")
    rank = _rank(detector, settings)
    if not present(detector, settings):
        return f"norms and head are trained: no layer {' or '.join(settings.lora_targets)} is left for LoRA"
    why = "asked for" if settings.rank else "a quarter of the width"
    variants = "".join(f", {name}" for name in ("dora", "rslora") if getattr(settings, name))
    return f"LoRA of rank {rank} ({why}) in {', '.join(settings.lora_targets)}, start {settings.lora_init}{variants}"


def first_trained(detector: Detector, settings: AlignSettings, changed: list[int]) -> int | None:
    """Original index of the first block of which anything is trained; ``None`` if what is before the blocks is trained, too.

    Args:
        changed: blocks that a head start or pruning has changed.
    """
    if settings.lora_blocks == "all":
        return None
    dropped = gone(detector.config.block_count, detector.blocks.left)
    joint = detector.blocks.joint_place
    if joint == ENTRY:
        return None
    # What lies between two blocks is trained, so that what goes into it is where training begins.
    return min([*(split_unit(unit)[0] for unit in dropped), *changed, *([] if joint is None else [joint])], default=0)


def narrower(student: Detector, teacher: Detector) -> list[int]:
    """Blocks of which channel pruning has left less than the teacher has, by original index."""
    return [index for index in student.blocks.left if block_sizes(student, index) != block_sizes(teacher, index)]


def last_shared(student: Detector, teacher: Detector, first: int | None) -> int | None:
    """The last block up to which the student is its teacher, weight by weight, and is not trained.

    Returns:
        its original index; :data:`~tadshrink.compress.trace.ENTRY` if only what is before the blocks is shared, and ``None`` if nothing.
    """
    if first is None:
        return None
    ours, theirs = student.state_dict(), teacher.state_dict()
    differing = [name for name, value in ours.items() if before(student, name, first) and not value.equal(theirs[name])]
    alike = [block for block in range(first + 1) if not any(before(student, name, block) for name in differing)]
    return max(alike) + ENTRY if alike else None
