"""What an evaluation does with its videos: it decodes each frame once, holds little, and decodes while the model works."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.data import frame_stream, loader
from tadshrink.data.loader import inference_batches
from tadshrink.data.sources import VideoSource
from tadshrink.data.timeline import Video
from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import VideoIndex
from tadshrink.device import choose_compute
from tadshrink.evaluation.inference import detect_videos
from tadshrink.models.config import SamplingConfig
from tadshrink.models.detector import Detector
from tests.data.broken import damaged, write_table_first
from tests.notes import Notes

Clips = Callable[..., Path]

FRAMES = 400
#: 400 frames are 100 cells; a window is 32 cells of one frame in four.
SAMPLING = SamplingConfig(window=32, frames_per_cell=1, snippet_stride=4, frame_size=16)


@pytest.fixture
def videos(clips: Clips) -> list[Video]:
    return [Video(name, clips(f"{name}.mp4", frames=FRAMES)) for name in "ab"]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often the decoder gave which frame."""
    count: Counter[tuple[str, int]] = Counter()
    decode = frame_stream.decode

    def spy(index: VideoIndex, first: int) -> Iterator[tuple[int, object]]:
        for number, frame in decode(index, first):
            count[index.path.name, number] += 1
            yield number, frame

    monkeypatch.setattr(frame_stream, "decode", spy)
    return count


@pytest.mark.parametrize("most", [2 << 30, 0])
@pytest.mark.parametrize("overlap", [0.5, 0.25, 0.75])
def test_each_frame_is_decoded_at_most_once(videos: list[Video], given: Counter[tuple[str, int]], most: int, overlap: float) -> None:
    source = VideoSource(SAMPLING.model_copy(update={"overlap": overlap}), FrameStore(16, most))
    windows = [window for _, _, group in inference_batches(videos, source, 3) for window in group]
    assert len({window.start_frame for window in windows}) > 3
    assert set(given.values()) == {1}
    for video in videos:
        assert FRAMES - 4 <= source.frames.decoded[video.path] <= FRAMES


def test_within_the_budget_nothing_is_decoded_again(videos: list[Video]) -> None:
    source = VideoSource(SAMPLING)
    for _ in range(3):
        first = [inputs for inputs, _, _ in inference_batches(videos, source, 3)]
        decoded = dict(source.frames.decoded)
    assert max(decoded.values()) <= FRAMES
    # One frame in four is kept.
    assert source.frames.cache.bytes == 2 * FRAMES // 4 * 3 * 16 * 16
    passing = VideoSource(SAMPLING, FrameStore(16, 0))
    assert all(map(torch.equal, first, [inputs for inputs, _, _ in inference_batches(videos, passing, 3)]))


def test_detection_looks_at_each_frame_once(tiny, given: Counter[tuple[str, int]]) -> None:
    paths = [tiny.video(f"testing_000{number}") for number in range(2)]
    source = VideoSource(tiny.config.sampling, FrameStore(tiny.config.sampling.frame_size, 0))
    detector = Detector(tiny.config)
    found = detect_videos(detector, [Video(path.stem, path) for path in paths], source, choose_compute("cpu", 16), batch_size=2)
    assert found.keys() == {path.stem for path in paths}
    assert set(given.values()) == {1}
    assert {name for name, _ in given} == {path.name for path in paths}


def test_a_long_video_needs_the_memory_of_a_few_windows(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight windows to a batch would be more than a batch may hold."""
    path = clips("long.mp4", frames=4000)
    window = 32 * 3 * 16 * 16
    monkeypatch.setattr(loader, "BATCH_BYTES", 2 * window)
    source = VideoSource(SAMPLING, FrameStore(16, 0))
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most, held, load = 0, 0, source.load

    def spy(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal most, held
        inputs, mask = load(*arguments)  # type: ignore[arg-type]
        alive.add(inputs)
        most, held = max(most, len(alive)), max(held, source.frames.cache.bytes)
        return inputs, mask

    monkeypatch.setattr(source, "load", spy)
    sizes = [len(windows) for _, _, windows in inference_batches([Video("long", path)], source, 8)]
    assert max(sizes) == 2
    assert sum(sizes) > 50
    assert held <= window
    assert most <= 12
    assert source.frames.decoded[path] <= 4000


def test_decoding_goes_on_while_the_model_works(videos: list[Video], monkeypatch: pytest.MonkeyPatch) -> None:
    """The model does not finish its first window before a frame of a later one was decoded."""
    source, loaded = VideoSource(SAMPLING), threading.Semaphore(0)
    load = source.load

    def spy(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        result = load(*arguments)  # type: ignore[arg-type]
        loaded.release()
        return result

    monkeypatch.setattr(source, "load", spy)
    batches = inference_batches(videos, source, 1)
    for number, _ in enumerate(batches):
        if number == 0:
            # Its own, and one more: nobody asks for it before this iteration ends.
            assert loaded.acquire(timeout=30)
            assert loaded.acquire(timeout=30), "decoding waited for the model"
        assert threading.current_thread().name != "prefetch"


def test_a_file_that_is_damaged_does_not_stop_an_evaluation(clips: Clips, tmp_path: Path) -> None:
    notes = Notes()
    bad = damaged(write_table_first(tmp_path / "whole.mp4"), tmp_path / "bad.mp4", 20)
    source = VideoSource(SamplingConfig(window=8, snippet_stride=2, frame_size=16), FrameStore(16, reporter=notes))
    found = [window.video for _, _, group in inference_batches([Video("bad", bad), Video("good", clips("a.mp4"))], source, 2)
             for window in group]
    assert set(found) == {"bad", "good"}
    assert len(notes.lines) == 1
    assert source.frames.damaged == {bad: {20}}


def test_training_in_random_order_ends_up_with_everything(videos: list[Video]) -> None:
    source, rng = VideoSource(SAMPLING), np.random.default_rng(0)
    windows = source.windows(videos[0])
    for number in rng.permutation(len(windows)).tolist():
        source.load(videos[0], windows[number])
    decoded = source.frames.decoded[videos[0].path]
    assert decoded < 2 * FRAMES
    source.load(videos[0], windows[2])
    assert source.frames.decoded[videos[0].path] == decoded
