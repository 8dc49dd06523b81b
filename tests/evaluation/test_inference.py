from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tadshrink.data.features import FeatureSource
from tadshrink.data.timeline import Video
from tadshrink.evaluation import inference
from tadshrink.evaluation.inference import read_lengths
from tadshrink.models.config import SamplingConfig
from tadshrink.reporting import Advance, Reporter


class Bars(Reporter):
    def __init__(self) -> None:
        self.bars: list[tuple[str, int, list[str]]] = []

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        done: list[str] = []
        self.bars.append((description, total, done))
        yield lambda count, text: done.append(text)


@pytest.mark.parametrize("much", [0, 1 << 30])
def test_reading_lengths_shows_a_bar_where_it_takes_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, much: int) -> None:
    monkeypatch.setattr(inference, "MUCH", much)
    np.save(tmp_path / "a.npy", np.zeros((5, 2), dtype=np.float32))
    videos = [Video(name, tmp_path / "a.npy", fps=10) for name in "xy"]
    source, bars = FeatureSource(SamplingConfig(mode="whole", window=8)), Bars()
    read_lengths(videos, source, "evaluate", bars)
    assert bars.bars == ([] if much else [("evaluate: lengths", 2, ["x", "y"])])
