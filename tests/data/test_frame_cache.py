from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from tadshrink.data.frame_cache import FrameCache

A, B, C = map(Path, "abc")


def pictures(*numbers: int, size: int = 10) -> dict[int, torch.Tensor]:
    return {number: torch.full((size,), number, dtype=torch.uint8) for number in numbers}


def test_pictures_add_up() -> None:
    cache = FrameCache(1000)
    assert cache.of(A) == {}
    cache.put(A, pictures(0, 1), {0, 1})
    cache.put(A, pictures(5), {1, 5})
    assert set(cache.of(A)) == {0, 1, 5}
    assert cache.bytes == 30


def test_of_a_large_video_only_what_was_asked_for_last_is_kept() -> None:
    cache = FrameCache(100)
    cache.put(A, pictures(0, 1), {0, 1})
    cache.put(A, pictures(2), {1, 2})
    assert set(cache.of(A)) == {1, 2}
    # Large once, large for ever.
    cache.put(A, pictures(3), {3})
    assert set(cache.of(A)) == {3}
    assert cache.bytes == 10


def test_the_video_used_least_recently_goes_first() -> None:
    cache = FrameCache(100)
    for path, number in ((A, 0), (B, 0), (A, 1)):
        cache.put(path, pictures(number), {number})
    cache.put(C, pictures(*range(8)), set(range(8)))
    assert (set(cache.of(A)), set(cache.of(B)), set(cache.of(C))) == ({0, 1}, set(), set(range(8)))


def test_without_room_the_last_request_stays() -> None:
    cache = FrameCache(0)
    cache.put(A, pictures(0, 1), {0, 1})
    cache.put(B, pictures(4), {4})
    assert (cache.of(A), set(cache.of(B)), cache.bytes) == ({}, {4}, 10)


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.sets(st.integers(0, 9), min_size=1, max_size=4)), max_size=30),
       st.integers(0, 200))
def test_the_account_is_right_and_the_last_request_is_there(requests: list[tuple[Path, set[int]]], most: int) -> None:
    cache = FrameCache(most)
    for path, needed in requests:
        cache.put(path, pictures(*(needed - cache.of(path).keys())), needed)
        assert needed <= cache.of(path).keys()
        held = [picture for name in (A, B, C) for picture in cache.of(name).values()]
        assert cache.bytes == sum(picture.numel() for picture in held)
        assert cache.bytes <= max(most, 10 * len(cache.of(path)))
