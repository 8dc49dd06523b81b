from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tadshrink.data.annotations.oddities import AFTER, BEFORE, BEYOND, NO_LENGTH, TWICE, find_oddities
from tadshrink.data.annotations.records import Action, VideoRecord

FILE = Path("a.json")
#: What to plant in a video of 100 s -> the kinds that must be found, given a number that makes the action unlike any other.
PLANTED = {
    "sound": (lambda n: Action(n, n + 0.5, "x"), ()),
    "rounding": (lambda n: Action(n, 100.04, "x"), ()),
    "no length": (lambda n: Action(n, n, "x"), (NO_LENGTH,)),
    "before": (lambda n: Action(-1 - n, n, "x"), (BEFORE,)),
    "after": (lambda n: Action(100 + n, 102 + n, "x"), (AFTER,)),
    "beyond": (lambda n: Action(n, 101, "x"), (BEYOND,)),
    "no length after": (lambda n: Action(110 + n, 110 + n, "x"), (NO_LENGTH, AFTER)),
}


def test_what_is_said() -> None:
    record = VideoRecord("v", "training", 9.0, (Action(1, 2, "x", "annotation 0"), Action(3, 9.5, "y", "annotation 1")))
    (problem,) = find_oddities([record], FILE)
    assert str(problem) == "video 'v', annotation 1: y from 3 to 9.5 s of 9 s"
    assert (problem.kind, problem.file, problem.fatal) == (BEYOND, FILE, False)


def test_without_a_duration_the_files_may_tell_it() -> None:
    record = VideoRecord("v", "testing", None, (Action(1, 20, "x"),))
    assert find_oddities([record], FILE) == []
    assert [problem.kind for problem in find_oddities([record], FILE, {"v": 10.0})] == [BEYOND]


@given(st.lists(st.sampled_from(list(PLANTED)), max_size=30), st.integers(0, 3), st.integers(0, 1000))
def test_every_planted_record_is_found_and_no_other(kinds: list[str], copies: int, seed: int) -> None:
    actions = [PLANTED[kind][0](number) for number, kind in enumerate(kinds)]
    expected = Counter(found for kind in kinds for found in PLANTED[kind][1])
    if actions and copies:
        # Copies of the first are duplicates, and as odd as it is.
        expected += Counter({TWICE: copies}) + Counter({found: copies for found in PLANTED[kinds[0]][1]})
        actions += actions[:1] * copies
    random.Random(seed).shuffle(actions)
    found = find_oddities([VideoRecord("v", "training", 100.0, tuple(actions))], FILE)
    assert Counter(problem.kind for problem in found) == expected
