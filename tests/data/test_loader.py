from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.data.actions import ActionGrid
from tadshrink.data.datasets import HELDOUT, load_dataset
from tadshrink.data.loader import Batch, TrainingSet, VideoWindow, grouped, inference_batches, prefetch
from tadshrink.data.sources import VideoSource
from tadshrink.data.timeline import Video
from tadshrink.data.video import FrameStore
from tadshrink.data.windows import Window
from tadshrink.models.config import SamplingConfig
from tadshrink.training.draws import Draws

#: 48 frames are 24 cells of 2 frames; a window is 8 cells.
SAMPLING = SamplingConfig(window=8, frames_per_cell=2, snippet_stride=2, frame_size=16)


def training_set(toy: Path, split: str = "train", sampling: SamplingConfig = SAMPLING, max_bytes: int = 1 << 20) -> TrainingSet:
    return TrainingSet(load_dataset(toy), split, VideoSource(sampling, FrameStore(16, max_bytes)))


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.inputs, b.inputs) and torch.equal(a.masks, b.masks)
        and all(map(torch.equal, a.segments, b.segments)) and all(map(torch.equal, a.labels, b.labels))
        for a, b in zip(first, second, strict=True))


def prefetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_a_batch(toy: Path) -> None:
    batches = list(Draws(training_set(toy), 3, 0).epoch(0))
    for batch in batches:
        assert batch.inputs.shape == (3, 1, 3, 16, 16, 16)
        assert batch.inputs.dtype == torch.uint8
        assert batch.masks.shape == (3, 8)
        assert batch.masks.dtype == torch.bool
        for segments, labels in zip(batch.segments, batch.labels, strict=True):
            assert segments.shape == (len(labels), 2)
            assert (segments.dtype, labels.dtype) == (torch.float32, torch.int64)
            assert ((segments >= 0) & (segments <= 8)).all()


def test_each_video_once_per_window_that_it_holds(toy: Path) -> None:
    dataset = load_dataset(toy)
    videos = len(dataset.split("train"))
    assert len(training_set(toy).samples) == 3 * videos
    assert len(training_set(toy, sampling=SAMPLING.model_copy(update={"window": 16})).samples) == 2 * videos
    assert len(training_set(toy, sampling=SAMPLING.model_copy(update={"window": 64})).samples) == videos


def test_the_last_smaller_batch_is_left_out_unless_it_is_the_only_one(toy: Path) -> None:
    data = training_set(toy)
    samples = len(data.samples)
    assert Draws(data, 5, 0).batches_per_epoch == samples // 5
    assert [len(batch.labels) for batch in Draws(data, 5, 0).epoch(0)] == [5] * (samples // 5)
    assert Draws(data, 1000, 0).batches_per_epoch == 1
    assert [len(batch.labels) for batch in Draws(data, 1000, 0).epoch(0)] == [samples]


def test_the_same_seed_and_epoch_give_the_same_batches(toy: Path) -> None:
    first, again = (list(Draws(training_set(toy), 4, 5).epoch(3)) for _ in range(2))
    assert same(first, again)
    # Not even what was kept or drawn before matters.
    data = training_set(toy, max_bytes=0)
    list(Draws(data, 4, 5).epoch(2))
    assert same(first, list(Draws(data, 4, 5).epoch(3)))


def test_another_epoch_or_seed_gives_others(toy: Path) -> None:
    data = training_set(toy)
    first = list(Draws(data, 4, 5).epoch(3))
    assert not same(first, list(Draws(data, 4, 5).epoch(4)))
    assert not same(first, list(Draws(data, 4, 6).epoch(3)))


def test_every_video_is_cut_anew_in_every_epoch(toy: Path, numbers: Callable[[object], list[int]]) -> None:
    data = training_set(toy)
    starts = np.zeros((6, len(data.samples)), int)
    for epoch in range(6):
        (batch,) = Draws(data, 1000, 1, augmented=False).epoch(epoch)
        order = np.random.default_rng([1, epoch]).permutation(len(data.samples))
        starts[epoch, order] = numbers(batch.inputs[:, 0, :, 0])
    assert all(len(set(column)) > 1 for column in starts.T)


def test_without_augmentation_frames_and_actions_belong_together(toy: Path, numbers: Callable[[object], list[int]]) -> None:
    data = training_set(toy)
    records = {record.name: record for record in load_dataset(toy).records}
    order = np.random.default_rng([1, 0]).permutation(len(data.samples))
    (batch,) = Draws(data, 1000, 1, augmented=False).epoch(0)
    assert torch.cat(batch.labels).unique().tolist() == [0, 1]
    for row, index in enumerate(order):
        shown = numbers(batch.inputs[row, 0].permute(1, 0, 2, 3))
        assert shown == list(range(shown[0], shown[0] + 16))
        first = shown[0] // 2
        assert shown[0] == 2 * first
        assert batch.masks[row].all()
        expected = []
        for action in records[data.samples[index].name].actions:
            # 12 frames per second, 2 frames per cell.
            start, end = action.start * 6 - first, action.end * 6 - first
            clipped = [min(max(start, 0), 8), min(max(end, 0), 8)]
            if clipped[1] - clipped[0] >= 0.75 * (end - start):
                expected.append((*clipped, ["jump", "run"].index(action.label)))
        assert [(*segment, label) for segment, label in zip(batch.segments[row].tolist(), batch.labels[row].tolist(), strict=True)] == expected


def test_a_video_shorter_than_the_window_is_masked(toy: Path) -> None:
    data = training_set(toy, sampling=SAMPLING.model_copy(update={"window": 32}))
    (batch,) = Draws(data, 1000, 0).epoch(0)
    for mask in batch.masks:
        valid = int(mask.sum())
        assert 22 <= valid <= 24
        assert mask.tolist() == [True] * valid + [False] * (32 - valid)


def test_inference_windows_cover_the_videos_in_order(toy: Path, numbers: Callable[[object], list[int]]) -> None:
    dataset = load_dataset(toy)
    first, second = map(dataset.video, dataset.split("test"))
    assert first.duration == 4.0
    batches = list(inference_batches([first, Video(second.name, second.path)], VideoSource(SAMPLING), batch_size=4))
    assert [len(windows) for _, _, windows in batches] == [4, 4, 4]
    windows = [window for _, _, group in batches for window in group]
    # 24 cells: windows at cells 0, 4, 8, 12, 16, and the last one once more.
    assert [(window.video, window.start_frame) for window in windows] == [
        (name, first) for name in ("testing_0", "testing_1") for first in (0, 8, 16, 24, 32, 32)]
    assert {(window.fps, window.duration) for window in windows} == {(12.0, 4.0)}
    inputs = torch.cat([inputs for inputs, _, _ in batches])
    assert inputs.shape == (12, 1, 3, 16, 16, 16)
    for window, clip in zip(windows, inputs, strict=True):
        assert numbers(clip[0].permute(1, 0, 2, 3)) == list(range(window.start_frame, window.start_frame + 16))
    assert torch.cat([masks for _, masks, _ in batches]).all()


def test_the_annotated_length_decides_the_frame_rate(toy: Path) -> None:
    dataset = load_dataset(toy)
    path = dataset.files(dataset.split(HELDOUT)[0])[0]
    _, _, windows = next(inference_batches([Video("v", path, 5.0)], VideoSource(SAMPLING), 1))
    assert (windows[0].fps, windows[0].duration) == (48 / 5, 5.0)


def test_actions_of_any_window(toy: Path) -> None:
    # Cells of 1/6 s: "run" from cell 6 to 18.
    actions = ActionGrid(load_dataset(toy), "train", VideoSource(SAMPLING))
    segments, labels = actions.inside("training_4", Window(4, 8))
    assert (segments.tolist(), labels.tolist()) == ([[2, 8]], [1])
    assert (segments.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert actions.inside("training_4", Window(4, 8), least=0.5)[0].tolist() == [[2, 8]]
    assert actions.inside("training_4", Window(4, 8), least=0.6)[0].shape == (0, 2)
    assert actions.inside("training_4", Window(18, 6))[0].shape == (0, 2)


def test_a_resized_video_is_one_window(toy: Path, numbers: Callable[[object], list[int]]) -> None:
    sampling = SAMPLING.model_copy(update={"mode": "resize"})
    dataset, source = load_dataset(toy), VideoSource(sampling)
    record = dataset.split("test")[0]
    ((inputs, masks, windows),) = inference_batches([dataset.video(record)], source, 4)
    # 16 parts of 3 frames.
    assert numbers(inputs[0, 0].permute(1, 0, 2, 3)) == list(range(1, 48, 3))
    assert masks.shape == (1, 8)
    assert masks.all()
    assert windows == [VideoWindow("testing_0", Window(0, 8), 0, 12.0, 4.0)]
    # "run" from 1 to 3 of 4 seconds.
    assert ActionGrid(dataset, "test", source).inside("testing_0", windows[0].window)[0].tolist() == [[2, 6]]
    data = training_set(toy, sampling=sampling)
    assert len(data.samples) == len(dataset.split("train"))
    (batch,) = Draws(data, 100, 0, augmented=False).epoch(0)
    assert all(numbers(clip[0].permute(1, 0, 2, 3)) == list(range(1, 48, 3)) for clip in batch.inputs)


def test_grouped() -> None:
    assert list(grouped(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(grouped([], 2)) == []


def test_prefetch_keeps_the_order_and_ends() -> None:
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch([])) == []
    assert not prefetching()


def test_prefetch_works_ahead_but_not_further_than_its_depth() -> None:
    made: list[int] = []
    items = prefetch((made.append(number) or number for number in range(50)), depth=2)
    assert made == []
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    # One was taken, two wait, and one cannot be put.
    assert made == [0, 1, 2, 3]
    items.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_prefetch_raises_what_went_wrong_after_what_went_right(problem: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise problem("no")

    taken = []
    with pytest.raises(problem, match="no"):
        for item in prefetch(items()):
            taken.append(item)
    assert taken == [1, 2]
    assert not prefetching()


@pytest.mark.parametrize("way", ["break", "error", "close"])
def test_leaving_early_stops_the_thread_and_closes_the_source(way: str) -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    stream = prefetch(items())
    if way == "close":
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    else:
        try:
            for _ in stream:
                if way == "break":
                    break
                raise ValueError
        except ValueError:
            pass
        del stream
    assert not prefetching()
    assert closed.wait(5)


def test_an_interrupt_while_waiting_for_the_thread() -> None:
    def items() -> Iterator[int]:
        yield 1
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        yield 2

    # A shell starts its background jobs with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(prefetch(items()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not prefetching()


def test_a_stream_that_nobody_closes_does_not_keep_the_process() -> None:
    program = ("import itertools\nfrom tadshrink.data.loader import prefetch\n"
               "stream = prefetch(itertools.count())\nnext(stream)\nraise SystemExit(7)\n")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
                            cwd=Path(__file__).parents[2], check=False)
    assert result.returncode == 7
    assert result.stderr == ""
