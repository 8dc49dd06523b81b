from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tadshrink.compress.judges import Bench, MapJudge
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.compress.selection import rank_units
from tadshrink.data.datasets import Dataset
from tadshrink.data.sources import open_source
from tadshrink.device import choose_compute
from tadshrink.recognition.judges import Top1Judge
from tadshrink.reporting import SILENT
from tests.notes import Noted


def judge_of(tiny, data: Dataset) -> MapJudge:
    return MapJudge(Bench(tiny.opened().detector, data, "training", None, choose_compute("cpu", 1)), "block", 0)


def test_resampled_scores_lie_around_the_score(tiny) -> None:
    kept, source = Noted(), open_source(tiny.data, tiny.config.sampling)
    options = SelectOptions(metric="map", batch_size=1)
    ranking = rank_units(tiny.opened().detector, tiny.data, "training", options, source, choose_compute("cpu", 1), kept, SILENT)
    judge = judge_of(tiny, tiny.data)
    assert ranking.candidates
    for item in ranking.candidates:
        score, resampled = judge.resampled({video: rows for found in kept.found for video, rows in found[item.units].items()}, 200)
        assert score == item.score
        assert resampled.shape == (200,)
        assert resampled.std() > 0 and abs(resampled.mean() - score) < 2 * resampled.std()


def test_videos_without_actions_tell_nothing(tiny) -> None:
    quiet = {record.name for record in tiny.data.split("training")[:1]}
    data = replace(tiny.data, records=tuple(replace(one, actions=()) if one.name in quiet else one for one in tiny.data.records))
    names = [record.name for record in data.split("training")]
    assert judge_of(tiny, data).informative(names) == len(names) - 1


def test_resampled_top_1() -> None:
    judge = Top1Judge.__new__(Top1Judge)
    judge.seed, judge.labels = 0, {"a": 0, "b": 1}
    score, resampled = judge.resampled({"a": np.array([0.9, 0.1]), "b": np.array([0.9, 0.1])}, 1000)
    assert (score, set(resampled.tolist())) == (50, {0, 50, 100})
    assert resampled.mean() == pytest.approx(50, abs=5)
