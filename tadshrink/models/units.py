"""What can be dropped of a run of blocks: a block, or one of its two halves, each a residual branch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tadshrink.errors import UserError

#: A block by its original index (3), or a half of it ("3.attention", "3.mlp").
Unit = int | str
#: The halves of a block, in the order in which they run.
HALVES = ("attention", "mlp")
#: How one and several of a kind are called.
NOUN = {"block": "block", "attention": "attention half", "mlp": "MLP half"}
NOUNS = {"block": "blocks", "attention": "attention halves", "mlp": "MLP halves"}
#: Halves that are left, by the original index of their block.
Left = Mapping[int, tuple[str, ...]]

HALF_NAME = rf"(0|[1-9]\d{{0,8}})\.({'|'.join(HALVES)})"
_UNIT = re.compile(rf"\d{{1,9}}|{HALF_NAME}")


def too_few(count: int, kind: str) -> str:
    """What to say where nothing can be dropped, as there is one of a kind or none."""
    return f"{'only one' if count else 'no'} {NOUN[kind]} is left"


def parse_unit(text: str) -> Unit:
    """A unit as a user writes it.

    Raises:
        UserError: it is none.
    """
    name = text.strip()
    if not _UNIT.fullmatch(name):
        raise UserError(f"{text!r} is neither a block nor half of one", fix="For example: --blocks 3,7 or --blocks 3.mlp,7.attention")
    return int(name) if name.isdecimal() else name


def split_unit(unit: Unit) -> tuple[int, tuple[str, ...]]:
    """The original index of its block, and the halves that it stands for."""
    if isinstance(unit, int):
        return unit, HALVES
    index, half = unit.split(".")
    return int(index), (half,)


def order(unit: Unit) -> tuple[int, int]:
    """Sorts units as they run."""
    index, halves = split_unit(unit)
    return index, HALVES.index(halves[0])


def left_of(count: int, dropped: Iterable[Unit]) -> Left:
    """What is left of ``count`` blocks.

    Raises:
        UserError: something is dropped that is not there (any more).
    """
    left = dict.fromkeys(range(count), HALVES)
    for unit in dropped:
        left = without(left, unit)
    return left


def without(left: Left, unit: Unit) -> dict[int, tuple[str, ...]]:
    """What is left after one more unit is gone; an index takes what there is of its block.

    Raises:
        UserError: there is no such unit.
    """
    index, halves = split_unit(unit)
    present = left.get(index, ())
    if not set(halves) & set(present):
        raise UserError(f"block {unit} cannot be dropped: the blocks left are {whole(left)}", fix="Name one of these")
    rest = tuple(half for half in present if half not in halves)
    return {number: rest if number == index else kept for number, kept in left.items() if number != index or rest}


def units(left: Left, kind: str) -> list[Unit]:
    """Every unit of a kind that can be dropped, ascending."""
    if kind == "block":
        return list(left)
    return [f"{index}.{kind}" for index, halves in left.items() if kind in halves]


def whole(left: Left) -> list[Unit]:
    """What is left, ascending: blocks, and halves whose other half is gone."""
    return [index if halves == HALVES else f"{index}.{halves[0]}" for index, halves in left.items()]


def gone(count: int, left: Left) -> list[Unit]:
    """What is not left of ``count`` blocks, ascending."""
    missing = {index: tuple(half for half in HALVES if half not in left.get(index, ())) for index in range(count)}
    return whole({index: halves for index, halves in missing.items() if halves})


def merged(dropped: Sequence[Unit]) -> list[Unit]:
    """Dropped units in the order of dropping, with a block in place of its two halves, where the second one went."""
    result: list[Unit] = []
    for unit in dropped:
        index, _ = split_unit(unit)
        same = [other for other in result if split_unit(other)[0] == index]
        result = [other for other in result if other not in same] + [index if same else unit]
    return result


def listed(dropped: Unit | Sequence[Unit]) -> list[Unit]:
    """What a step dropped, where one unit stands for itself."""
    return [dropped] if isinstance(dropped, Unit) else list(dropped)
