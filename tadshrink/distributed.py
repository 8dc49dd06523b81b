"""The processes of one command: one, or as many as torchrun started together. Each runs the same program on its share of the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tadshrink.errors import UserError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
#: While the first process does something alone, the others wait.
PATIENCE = timedelta(days=7)


class World(NamedTuple):
    """The number of this process, from 0, and how many there are."""

    rank: int
    size: int

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every ``size``-th item, from the ``rank``-th on."""
        return items[self.rank :: self.size]


def check_shares(windows: int, processes: World) -> None:
    """Raise a :class:`UserError` unless the processes can share batches of so many windows evenly."""
    if windows % processes.size:
        raise UserError(f"{processes.size} processes cannot share batches of {windows} windows evenly",
                        fix="Give a --batch-size that is a multiple of the number of processes")


def check_alone(what: str) -> None:
    """Raise a :class:`UserError` where torchrun started several processes; ``what`` takes one."""
    if world().size > 1:
        raise UserError(f"{what} takes one process, and here are {world().size}", fix="Start it without torchrun (RANK, WORLD_SIZE)")


def world() -> World:
    """As torchrun says; (0, 1) where it did not start this process."""
    return World(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def local_device(name: str) -> str:
    """``cuda`` as the GPU of this process, where several run on one machine; other names as they are."""
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if name == "cuda" and world().size > 1 else name


def start(device: torch.device) -> World:
    """Connect the processes (gloo on a CPU, nccl on GPUs), once; without torchrun nothing happens.

    Raises:
        UserError: they do not find each other.
    """
    if world().size == 1:
        return world()
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"the processes do not find each other ({str(error).splitlines()[0]})", fix="Start them with torchrun") from error
    return world()


def stop() -> None:
    """Disconnect the processes, if they are connected."""
    if world().size > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def gather(value: T) -> list[T]:
    """The values of all processes, by rank, in every process. Any picklable value will do."""
    if world().size == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * world().size
    distributed.all_gather_object(values, value)
    return values


def only_first(work: Callable[[], T]) -> T:
    """What ``work`` gives to the first process, in every process; the others wait for it.

    Raises:
        UserError: ``work`` raised one; every process does then.
    """
    if world().size == 1:
        return work()
    from torch import distributed

    said: list[Any] = [None, None]
    if world().rank == 0:
        try:
            said = [work(), None]
        except UserError as error:
            said = [None, (error.what, None if error.where is None else str(error.where), error.fix)]
    distributed.broadcast_object_list(said, src=0)
    if said[1] is not None:
        raise UserError(*said[1])
    return said[0]
