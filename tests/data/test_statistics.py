from __future__ import annotations

from tadshrink.data.annotations import Action, VideoRecord
from tadshrink.data.statistics import Lengths, SplitCounts, count_classes, count_splits

RECORDS = [
    VideoRecord("a", "training", 1800.0, (Action(0, 2, "x"), Action(4, 5, "y")), ambiguous=((1, 2),)),
    VideoRecord("b", "testing", None, (Action(0, 3, "x"),)),
    VideoRecord("c", "training", 3600.0, (Action(1, 10, "x"),)),
    VideoRecord("d", "training", 5400.0, ()),
]


def test_splits() -> None:
    assert count_splits(RECORDS) == {
        "training": SplitCounts(3, 1, 3, 2, 1, 3.0, Lengths(1800, 3600, 5400), Lengths(1, 2, 9)),
        "testing": SplitCounts(1, 0, 1, 1, 0, 0.0, None, Lengths(3, 3, 3)),
    }
    assert count_splits([]) == {}


def test_classes_in_the_given_order_and_then_the_others() -> None:
    assert count_classes(RECORDS, ("z", "y")) == {"z": {}, "y": {"training": 1}, "x": {"training": 2, "testing": 1}}
    assert list(count_classes(RECORDS)) == ["x", "y"]
