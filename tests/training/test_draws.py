from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import pytest

from tadshrink.data.loader import TrainingSet
from tadshrink.data.sources import open_source
from tadshrink.distributed import World
from tadshrink.errors import UserError
from tadshrink.training.draws import Draws


def some(count: int, batch_size: int, **more: object) -> Draws:
    return Draws(SimpleNamespace(samples=[None] * count), batch_size, 5, **more)


@pytest.mark.parametrize(("count", "size", "subset", "want"), [(10, 4, 1.0, [4, 4]), (10, 4, 0.5, [4]), (3, 4, 1.0, [3]), (10, 2, 0.01, [1])])
def test_the_last_smaller_batch_is_left_out_unless_it_is_the_only_one(count: int, size: int, subset: float, want: list[int]) -> None:
    draws = some(count, size, subset=subset)
    assert [len(indices) for indices in draws.indices(0)] == want
    assert draws.batches_per_epoch == len(want)


def test_a_subset_is_another_one_in_every_epoch_and_has_no_sample_twice() -> None:
    draws = some(100, 5, subset=0.3)
    epochs = [list(chain.from_iterable(draws.indices(epoch))) for epoch in range(3)]
    assert all(len(set(epoch)) == 30 for epoch in epochs)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 3


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_each_batch(size: int) -> None:
    whole = some(22, 8)
    parts = [some(22, 8, processes=World(rank, size)) for rank in range(size)]
    for shares, batch in zip(zip(*(part.indices(2) for part in parts), strict=True), whole.indices(2), strict=True):
        assert sorted(chain.from_iterable(shares)) == sorted(batch)
        assert {len(share) for share in shares} == {8 // size}


@pytest.mark.parametrize(("count", "batch_size", "size"), [(20, 3, 2), (20, 2, 4)])
def test_processes_that_cannot_share_evenly_are_refused(count: int, batch_size: int, size: int) -> None:
    with pytest.raises(UserError, match=rf"{size} processes cannot share batches of \d windows evenly\. Give a --batch-size that"):
        some(count, batch_size, processes=World(0, size))


@pytest.mark.parametrize("count", [1, 3, 11])
def test_a_single_smaller_batch_is_shared_evenly_or_refused(count: int) -> None:
    with pytest.raises(UserError, match=rf"2 processes cannot share {count} windows evenly, which are a batch\. Raise --subset, lower"):
        some(count, 12, processes=World(0, 2))
    shares = [list(some(count + 1, 12, processes=World(rank, 2)).indices(0)) for rank in range(2)]
    assert sorted(chain.from_iterable(chain.from_iterable(shares))) == list(range(count + 1))


def test_fixed_windows_are_the_same_in_another_order(tiny) -> None:
    data = TrainingSet(tiny.data, "train", open_source(tiny.data, tiny.config.sampling))

    def windows(fixed: bool) -> list[set[int]]:
        draws = Draws(data, 1, 3, augmented=False, fixed=fixed)
        return [{hash(batch.inputs.numpy().tobytes()) for batch in draws.epoch(epoch)} for epoch in range(2)]

    first, second = windows(fixed=True)
    assert first == second
    first, second = windows(fixed=False)
    assert first != second
