"""Which windows each batch of each epoch holds, and which of them this process computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tadshrink.data.loader import Batch, TrainingSet, prefetch
from tadshrink.distributed import World, check_shares, world
from tadshrink.errors import UserError


@dataclass(frozen=True)
class Draws:
    """Epochs over the samples of a training set; all that is random depends on (seed, epoch, sample) alone.

    Attributes:
        batch_size: windows per batch, of all processes together.
        subset: share of the samples that an epoch draws.
        fixed: a sample has the same window in every epoch.

    Raises:
        UserError: the processes cannot share a batch evenly.
    """

    data: TrainingSet
    batch_size: int
    seed: int
    augmented: bool = True
    subset: float = 1.0
    fixed: bool = False
    processes: World = field(default_factory=world)

    def __post_init__(self) -> None:
        check_shares(self.batch_size, self.processes)
        if self.samples < self.batch_size and self.samples % self.processes.size:
            raise UserError(f"{self.processes.size} processes cannot share {self.samples} windows evenly, which are a batch",
                            fix="Raise --subset, lower --batch-size, or start fewer processes")

    @property
    def samples(self) -> int:
        """Samples of an epoch."""
        return max(1, round(len(self.data.samples) * self.subset))

    @property
    def batches_per_epoch(self) -> int:
        """The last, smaller batch is left out, unless it is the only one."""
        return max(1, self.samples // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This process's share of all batches of an epoch, decoded ahead by a thread."""
        drawn_as = 0 if self.fixed else epoch
        return prefetch(self.data.batch(indices, drawn_as, self.seed, self.augmented) for indices in self.indices(epoch))

    def indices(self, epoch: int) -> Iterator[list[int]]:
        """The samples in this process's share of each batch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.data.samples))[:self.samples].tolist()
        for number in range(self.batches_per_epoch):
            batch = order[number * self.batch_size:(number + 1) * self.batch_size]
            yield list(self.processes.share(batch[:len(batch) // self.processes.size * self.processes.size]))
