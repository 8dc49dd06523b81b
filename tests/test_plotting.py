from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.plotting import check_picture, plot_timelines
from tadshrink.stages.detect import Detected


def detected(**videos: Detections) -> Detected:
    return Detected(("run", "jump $high"), videos, dict.fromkeys(videos, 10.0), {})


def found(*items: tuple[float, float, float, int]) -> Detections:
    table = np.array(items).reshape(-1, 4)
    return Detections(table[:, :2], table[:, 2], table[:, 3])


def test_a_bar_for_each_detection_the_fuller_the_higher_its_score(tmp_path: Path) -> None:
    plot_timelines(detected(a=found((0, 4, 1.0, 0), (6, 10, 0.2, 0))), tmp_path / "a.png")
    picture = image.imread(tmp_path / "a.png")[..., :3]
    assert picture.shape[1] == 1200
    # The first colour of the palette, as it is and mixed with white.
    strong, weak = (np.all(np.abs(picture - np.array(colour)) < 0.02, axis=-1)
                    for colour in ((0.122, 0.467, 0.706), 1 - 0.32 * (1 - np.array((0.122, 0.467, 0.706)))))
    assert strong.any()
    assert weak.any()
    assert np.median(np.nonzero(strong)[1]) < np.median(np.nonzero(weak)[1])


def test_each_video_has_a_timeline_even_without_detections(tmp_path: Path) -> None:
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    plot_timelines(detected(a=found((0, 4, 0.9, 1))), one)
    plot_timelines(detected(a=found((0, 4, 0.9, 1)), b=found()), two)
    assert image.imread(two).shape[0] > image.imread(one).shape[0] * 1.7


@pytest.mark.filterwarnings("error")
def test_names_are_no_formulas(tmp_path: Path) -> None:
    plot_timelines(detected(**{"a$b$_{": found((0, 4, 0.9, 1))}), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_many_videos_fit_into_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tadshrink.plotting.TALLEST", 300)
    plot_timelines(detected(**{f"v{number}": found((0, 4, 0.9, 1)) for number in range(5)}), tmp_path / "a.png")
    assert image.imread(tmp_path / "a.png").shape[0] <= 300


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".JPG"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    plot_timelines(detected(a=found((0, 4, 0.9, 1))), tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size > 1000


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.pth"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"pictures cannot be written as .* Choose one of \.png"):
        check_picture(tmp_path / name)
    with pytest.raises(UserError):
        plot_timelines(detected(a=found()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_windows_of_a_notebook_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    plot_timelines(detected(a=found((0, 4, 0.9, 1))), tmp_path / "a.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_scores_above_1_are_as_full_as_it_gets(tmp_path: Path) -> None:
    plot_timelines(detected(a=found((0, 4, 97.5, 0))), tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()
