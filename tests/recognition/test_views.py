from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.data.synthetic import write_video
from tadshrink.errors import UserError
from tadshrink.recognition.config import ClipConfig
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.recognition.views import (
    ClipSource,
    Views,
    clip_starts,
    crop_corners,
    frame_numbers,
    parse_views,
    random_starts,
    spread_frames,
)

FPS = 10


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of 16 x 24 pixels: frame i has grey level 4 i, and its last 8 columns are 20 brighter."""
    frames = np.repeat(np.arange(60, dtype=np.uint8) * 4, 16 * 24 * 3).reshape(60, 16, 24, 3).copy()
    frames[:, :, 16:] += 20
    path = tmp_path_factory.mktemp("views") / "ramp.mp4"
    write_video(path, frames, FPS)
    return path


def levels(clips: torch.Tensor) -> list[list[int]]:
    """Which frame each picture of each view is, by the grey level of its left half."""
    return (clips[..., :8].float().mean(dim=(1, 3, 4)) / 4).round().int().tolist()


def test_ten_clips_by_hand() -> None:
    # Parts of 10 frames have their centres at 5, 15, ..., 95; a clip of 7 frames starts 3.5 before, halves go up.
    assert clip_starts(0, 100, 7, 10).tolist() == [2, 12, 22, 32, 42, 52, 62, 72, 82, 92]
    # The first and the last of three clips of 7 in 10 frames would stick out: centres 1.67, 5, 8.33.
    assert clip_starts(0, 10, 7, 3).tolist() == [0, 2, 3]
    assert clip_starts(50, 60, 7, 3).tolist() == [50, 52, 53]


def test_one_clip_is_in_the_middle() -> None:
    assert clip_starts(0, 101, 61, 1).tolist() == [20]
    assert clip_starts(30, 40, 4, 1).tolist() == [33]


def test_a_short_video_repeats_its_last_frame() -> None:
    clip = ClipConfig(frames=4, stride=2)
    assert clip_starts(10, 15, clip.span, 2).tolist() == [10, 10]
    assert frame_numbers(np.array([10, 10]), 15, clip).tolist() == [[10, 12, 14, 14]] * 2


def test_frame_numbers_by_hand() -> None:
    assert frame_numbers(np.array([0, 7]), 20, ClipConfig(frames=3, stride=4)).tolist() == [[0, 4, 8], [7, 11, 15]]


@pytest.mark.parametrize("clips", [1, 3, 10])
def test_random_starts_are_inside_and_each_in_its_part(clips: int) -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([random_starts(5, 45, 11, clips, rng) for _ in range(500)])
    assert drawn.min() == 5
    assert drawn.max() == 45 - 11
    edges = 5 + np.arange(clips + 1) * 30 / clips
    assert (drawn >= np.floor(edges[:-1])).all()
    assert (drawn <= np.ceil(edges[1:])).all()
    assert random_starts(5, 9, 11, clips, rng).tolist() == [5] * clips


def test_crops_by_hand() -> None:
    assert crop_corners(224, 298, 224, 1) == [(0, 37)]
    assert crop_corners(224, 298, 224, 3) == [(0, 0), (0, 37), (0, 74)]
    assert crop_corners(298, 224, 224, 3) == [(0, 0), (37, 0), (74, 0)]
    assert crop_corners(224, 225, 224, 2) == [(0, 0), (0, 1)]
    assert crop_corners(32, 32, 32, 3) == [(0, 0)] * 3


def test_views_of_a_video(video: Path) -> None:
    clip = ClipConfig(frames=3, stride=2, size=16)
    found = load_views(TrimmedVideo("v", video, "x"), clip, 2, 3)
    # Centres 15 and 45, a span of 5: the clips start at 13 (12.5) and 43.
    assert found.shape == (6, 3, 3, 16, 16)
    assert found.dtype == torch.uint8
    assert levels(found) == [[13, 15, 17]] * 3 + [[43, 45, 47]] * 3
    brightness = found[:3, :, 0, :, 8:].float().mean(dim=(1, 2, 3)) - found[:3, :, 0, :, :4].float().mean(dim=(1, 2, 3))
    # The bright columns are in none, half and all of the right half of the left, middle and right crops.
    assert torch.allclose(brightness, torch.tensor([0.0, 10.0, 20.0]), atol=2.5)


def test_views_of_a_part(video: Path) -> None:
    clip = ClipConfig(frames=4, stride=1, size=16)
    part = TrimmedVideo("v", video, "x", start=2.0, end=2.6)
    assert levels(load_views(part, clip, 1, 1)) == [[21, 22, 23, 24]]
    assert levels(load_views(TrimmedVideo("v", video, "x", start=5.8, end=9.0), clip, 1, 1)) == [[58, 59, 59, 59]]


def test_a_part_behind_the_end_is_told(video: Path) -> None:
    with pytest.raises(UserError, match=r"the part from 6 s on lies behind its end \(6.00 s\)"):
        load_views(TrimmedVideo("v", video, "x", start=6.0), ClipConfig(frames=2, size=16), 1, 1)


def test_draws_repeat_with_the_same_numbers_and_differ_with_others(video: Path) -> None:
    source = ClipSource(ClipConfig(frames=4, stride=1, size=16), "flips")
    record = TrimmedVideo("v", video, "x")
    first, again, other = (source.draw(record, 3, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == (3, 3, 4, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_unchanged_draws_are_frames_as_they_are(video: Path) -> None:
    source = ClipSource(ClipConfig(frames=3, stride=2, size=16), "light")
    found = levels(source.draw(TrimmedVideo("v", video, "x"), 2, np.random.default_rng(3), changed=False))
    assert all(clip == [clip[0], clip[0] + 2, clip[0] + 4] for clip in found)
    assert found[0][0] <= 28 <= found[1][0] + 1


def test_the_reference_augmentation_takes_any_shape(video: Path) -> None:
    source = ClipSource(ClipConfig(frames=4, stride=1, size=16), "reference")
    assert source.draw(TrimmedVideo("v", video, "x"), 2, np.random.default_rng(0)).shape == (2, 3, 4, 16, 16)


def test_views_are_read_and_written() -> None:
    assert parse_views("10x3") == Views(10, 3)
    assert str(Views(4, 2)) == "4x2"
    assert parse_views("10x1of3") == Views(10, 1, turns=3)
    assert str(parse_views("10x1of3")) == "10x1of3"


def test_crops_in_turn_are_those_of_all_crops(video: Path) -> None:
    record, source = TrimmedVideo("v", video, "x"), ClipSource(ClipConfig(frames=2, stride=1, size=16), max_bytes=0)
    every = source.views(record, Views(5, 3)).unflatten(0, (5, 3))
    turns = source.views(record, Views(5, 1, turns=3))
    assert all(torch.equal(clip, every[number, number % 3]) for number, clip in enumerate(turns))
    assert torch.equal(source.views(record, Views(5, 1, turns=3), slice(2, 4)), turns[2:4])
    assert not torch.equal(every[0, 0], every[0, 2])


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 16 x 48 pixels, whose thirds are black, grey and bright."""
    path = tmp_path_factory.mktemp("zones") / "zones.mp4"
    write_video(path, np.broadcast_to(np.repeat(np.array([0, 100, 200], np.uint8), 16)[None, None, :, None], (20, 16, 48, 3)).copy(), FPS)
    return path


@pytest.mark.parametrize(("augment", "changed"), [("light", False), ("light", True), ("reference", True)])
def test_drawn_clips_take_turns_as_judged_ones_do(zones: Path, augment: str, changed: bool) -> None:
    source = ClipSource(ClipConfig(frames=2, stride=1, size=16), augment)
    drawn = source.draw(TrimmedVideo("v", zones, "x"), 6, np.random.default_rng(0), changed, turns=3).float().mean(dim=(1, 2, 3, 4))
    assert ((drawn[0] < drawn[1] - 30) and (drawn[1] < drawn[2] - 30)), drawn
    torch.testing.assert_close(drawn[:3], drawn[3:], atol=2, rtol=0)


def test_fewer_clips_than_turns_would_leave_some_of_the_picture_unseen() -> None:
    with pytest.raises(UserError, match="2 clips cannot take turns with 3 crops"):
        parse_views("2x1of3")


@pytest.mark.parametrize("text", ["10x1of1", "10x3of3", "10x1of", "", "10", "0x3", "10x0", "10x3x1", "ten", "-1x1", "1e9x1"])
def test_other_views_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="are unknown"):
        parse_views(text)


def load_views(record: TrimmedVideo, clip: ClipConfig, clips: int, crops: int) -> torch.Tensor:
    return ClipSource(clip, max_bytes=0).views(record, Views(clips, crops))


def test_frames_spread_over_a_part_are_the_middles_of_equal_pieces() -> None:
    assert spread_frames(10, 26, 4).tolist() == [[12, 16, 20, 24]]
