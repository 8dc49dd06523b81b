"""The built-in synthetic dataset: untrimmed videos whose actions can be told apart only by motion over time.

A video is a row of scenes with a cut between them, over one dark textured background. Each scene shows a bright sprite whose
look (shape, colour, size) says nothing about the action: a class is a way of moving. Before and after its
action the sprite rests or wanders; a second sprite drifts by as a distractor; the camera adds noise and flicker, little in
some videos and much in others. Every video depends only on (seed, split, number), so a larger set contains the smaller
one and no video ever changes its split.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from tadshrink.files import atomic_path, write_json
from tadshrink.reporting import SILENT, Reporter

SIZE = 32
FPS = 8
#: How many of every ten videos go to each split.
SPLITS = {"training": 7, "validation": 1, "testing": 2}
#: Share of videos that hold no action at all.
EMPTY_SHARE = 0.06

#: Range of the camera noise of a video, as standard deviation in grey levels; low noise is as common as high.
NOISE = (4, 30)
#: Share of scenes whose sprite wanders before its action, and, independently, after it.
WANDER_SHARE = 0.5

#: Centre x, centre y and radius factor of a sprite in every frame.
Track = tuple[np.ndarray, np.ndarray, np.ndarray]
#: Draws a track over the given number of frames.
Move = Callable[[int, np.random.Generator], Track]


def _slide(x: int, y: int) -> Move:
    """From one side of the frame to the other, once; the direction is (x, y)."""

    def move(frames: int, rng: np.random.Generator) -> Track:
        along = np.linspace(-1, 1, frames + 1)[1:] * rng.uniform(5, 11)
        across = rng.uniform(-9, 9)
        centre = SIZE / 2
        aside = np.full(frames, centre + across)
        return centre + x * along if x else aside, centre + y * along if y else aside, np.ones(frames)

    return move


def _orbit(direction: int) -> Move:
    """Around a point near the centre; 1 is clockwise on the screen."""

    def move(frames: int, rng: np.random.Generator) -> Track:
        angle = direction * 2 * np.pi * rng.uniform(0.4, 0.8) * np.arange(frames) / FPS + rng.uniform(0, 2 * np.pi)
        radius = rng.uniform(6, 9)
        x, y = rng.uniform(-2, 2, 2) + SIZE / 2
        return x + radius * np.cos(angle), y + radius * np.sin(angle), np.ones(frames)

    return move


def _swing(x: int, y: int) -> Move:
    """Fast to and fro along (x, y)."""

    def move(frames: int, rng: np.random.Generator) -> Track:
        middle = rng.uniform(-6, 6, 2) + SIZE / 2
        swing = rng.uniform(3, 6) * np.sin(2 * np.pi * rng.uniform(0.9, 1.6) * np.arange(frames) / FPS)
        return middle[0] + x * swing, middle[1] + y * swing, np.ones(frames)

    return move


def _size(factor: Callable[[int, np.random.Generator], np.ndarray]) -> Move:
    """In place, with a radius that changes."""

    def move(frames: int, rng: np.random.Generator) -> Track:
        x, y = rng.uniform(-8, 8, 2) + SIZE / 2
        return np.full(frames, x), np.full(frames, y), factor(frames, rng)

    return move


def _wave(frames: int, rng: np.random.Generator) -> np.ndarray:
    return 1 + rng.uniform(0.25, 0.45) * np.sin(2 * np.pi * rng.uniform(0.7, 1.2) * np.arange(frames) / FPS)


def _ramp(direction: int) -> Callable[[int, np.random.Generator], np.ndarray]:
    return lambda frames, rng: 1 + direction * rng.uniform(0.25, 0.45) * np.linspace(-1, 1, frames)


#: Image coordinates: x to the right, y down.
MOTIONS: dict[str, Move] = {
    "slide-left": _slide(-1, 0),
    "slide-right": _slide(1, 0),
    "rise": _slide(0, -1),
    "fall": _slide(0, 1),
    "orbit-clockwise": _orbit(1),
    "orbit-counterclockwise": _orbit(-1),
    "shake": _swing(1, 0),
    "nod": _swing(0, 1),
    "pulse": _size(_wave),
    "grow": _size(_ramp(1)),
    "shrink": _size(_ramp(-1)),
}
CLASSES = tuple(MOTIONS)
#: Of x264 on x86, the AVX-512 code gives another file from one call to the next for frames this small.
ENCODER = {"crf": "16", "preset": "veryfast", "threads": "1",
           **({"x264-params": "asm=AVX2"} if platform.machine().lower() in {"x86_64", "amd64"} else {})}
#: Distance by which a sprite's outline is drawn: disc, square, diamond.
SHAPES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    np.hypot,
    lambda x, y: np.maximum(np.abs(x), np.abs(y)) * 1.1,
    lambda x, y: (np.abs(x) + np.abs(y)) * 0.8,
)


@dataclass(frozen=True)
class Look:
    """What the actions are, and how hard it is to see them: ``MOTIONS``, ``NOISE`` and ``WANDER_SHARE``, or others."""

    motions: Mapping[str, Move] = field(default_factory=lambda: MOTIONS)
    noise: tuple[float, float] = NOISE
    wander_share: float = WANDER_SHARE


#: Of the detection dataset.
USUAL = Look()


@dataclass(frozen=True)
class Plan:
    """What happens in one video: its length and its actions as (first frame, end frame, label)."""

    frames: int
    actions: tuple[tuple[int, int, str], ...]


def make_synthetic(root: Path, seed: int = 0, videos: int = 600, reporter: Reporter = SILENT) -> Path:
    """Render the dataset as H.264 files below ``root/videos`` and write ``root/annotations.json`` last.

    Returns the path of the annotation file (ActivityNet-style JSON, seconds).
    """
    target = root / "annotations.json"
    target.unlink(missing_ok=True)
    names = [(split, number) for split, size in split_sizes(videos).items() for number in range(size)]
    database: dict[str, Any] = {}
    with ThreadPoolExecutor(2) as pool, reporter.track("render synthetic videos", len(names)) as advance:
        for name, record in pool.map(lambda item: _make_one(root / "videos", seed, *item), names):
            database[name] = record
            advance(1, name)
    write_json(target, {"version": "synthetic-1", "seed": seed, "videos": videos, "database": database})
    return target


def split_sizes(videos: int) -> dict[str, int]:
    """Number of videos of each split; their sum is ``videos``, and no split shrinks when ``videos`` grows."""
    turns = [split for split, share in SPLITS.items() for _ in range(share)]
    return {split: sum(turns[number % len(turns)] == split for number in range(videos)) for split in SPLITS}


def _make_one(folder: Path, seed: int, split: str, number: int) -> tuple[str, dict[str, Any]]:
    rng = np.random.default_rng([seed, list(SPLITS).index(split), number])
    plan = plan_video(rng)
    name = f"{split}_{number:04d}"
    write_video(folder / f"{name}.mp4", render(plan, rng))
    annotations = [{"segment": [a / FPS, b / FPS], "label": label} for a, b, label in plan.actions]
    return name, {"subset": split, "duration": plan.frames / FPS, "frame": plan.frames, "annotations": annotations}


def plan_video(rng: np.random.Generator) -> Plan:
    """Draw a timeline of 12-28 s: gaps of 0.75-3 s, actions of 1.5-6 s, short ones more often."""
    frames = int(rng.integers(12 * FPS, 28 * FPS))
    actions: list[tuple[int, int, str]] = []
    at = int(rng.uniform(0.5, 2.0) * FPS)
    empty = rng.random() < EMPTY_SHARE
    while not empty:
        length = int(np.exp(rng.uniform(np.log(1.5), np.log(6.0))) * FPS)
        if at + length > frames - FPS // 2:
            break
        actions.append((at, at + length, CLASSES[rng.integers(len(CLASSES))]))
        at += length + int(rng.uniform(0.75, 3.0) * FPS)
    return Plan(frames, tuple(actions))


def render(plan: Plan, rng: np.random.Generator, look: Look = USUAL) -> np.ndarray:
    """Draw the planned video. Returns uint8 RGB ``[frames, SIZE, SIZE, 3]``."""
    frames = _background(rng)[None].repeat(plan.frames, axis=0)
    _draw(frames, _drift(plan.frames, rng), rng, radius=(1.5, 2.6), level=(70, 150))
    brightness = rng.uniform(130, 215)
    for first, end, action in _scenes(plan, rng):
        track = _scene_track(end - first, action, rng, look)
        _draw(frames[first:end], track, rng, radius=(3.0, 4.6), level=(brightness - 35, brightness + 35))
    frames *= (1 + 0.03 * rng.standard_normal(plan.frames)[:, None, None, None]).astype(np.float32)
    frames += rng.standard_normal(frames.shape, dtype=np.float32) * np.float32(np.exp(rng.uniform(*np.log(look.noise))))
    return np.clip(frames, 0, 255).astype(np.uint8)


def _scenes(plan: Plan, rng: np.random.Generator) -> list[tuple[int, int, tuple[int, int, str] | None]]:
    """Cut the video somewhere in each gap: (first frame, end frame, its action counted from its first frame)."""
    if not plan.actions:
        cuts = [0, *sorted(rng.integers(FPS, plan.frames - FPS, 3).tolist()), plan.frames]
        return [(first, end, None) for first, end in pairwise(cuts) if end > first]
    gaps = [(end, first) for (_, end, _), (first, _, _) in pairwise(plan.actions)]
    cuts = [0, *[int(rng.integers(end + 1, first)) for end, first in gaps], plan.frames]
    return [(first, end, (start - first, stop - first, label))
            for first, end, (start, stop, label) in zip(cuts, cuts[1:], plan.actions, strict=False)]


def _scene_track(frames: int, action: tuple[int, int, str] | None, rng: np.random.Generator, look: Look) -> Track:
    """Rest or wander, the action, then rest or wander again (the hard negatives: motion, but no class)."""
    start, stop, label = action or (0, 1, None)
    x, y, factor = look.motions[label](stop - start, rng) if label else (*rng.uniform(6, SIZE - 6, (2, 1)), np.ones(1))
    strength = rng.uniform(0.5, 1.0, 2) * (rng.random(2) < look.wander_share)
    places = [np.concatenate([_wander(track[0], start, strength[0], rng)[::-1], track, _wander(track[-1], frames - stop, strength[1], rng)])
              for track in (x, y)]
    sizes = np.concatenate([np.full(start, factor[0]), factor, np.full(frames - stop, factor[-1])])
    return places[0] + rng.normal(0, 0.1, frames), places[1] + rng.normal(0, 0.1, frames), sizes


def _wander(origin: float, frames: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """One coordinate of a random walk that leaves ``origin``, with steps of ``strength`` pixels, inside the frame."""
    return np.clip(origin + np.cumsum(rng.normal(0, 1, frames)) * strength, 4, SIZE - 4)


def _background(rng: np.random.Generator) -> np.ndarray:
    """A smooth random texture, float32 ``[SIZE, SIZE, 3]``, 10 to 70."""
    coarse = rng.uniform(10, 70, (5, 5, 3))
    grid = np.linspace(0, 4, SIZE)
    low = np.minimum(grid.astype(int), 3)
    share = grid - low
    rows = coarse[low] * (1 - share)[:, None, None] + coarse[low + 1] * share[:, None, None]
    columns = rows[:, low] * (1 - share)[None, :, None] + rows[:, low + 1] * share[None, :, None]
    return columns.astype(np.float32)


def _drift(frames: int, rng: np.random.Generator) -> Track:
    """The distractor: a slow drift in a direction of its own, all the time, around the edges."""
    t = np.arange(frames) / FPS
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, 4)
    start = rng.uniform(0, SIZE, 2)
    return start[0] + np.cos(angle) * speed * t, start[1] + np.sin(angle) * speed * t, np.ones(frames)


def _draw(frames: np.ndarray, path: Track, rng: np.random.Generator, radius: tuple[float, float],
          level: tuple[float, float]) -> None:
    """Blend a sprite of a random look into ``frames`` (float32, in place) along ``path``, wrapping at the edges."""
    x, y, scale = path
    grid = np.arange(SIZE)
    dx = (grid[None, :] - x[:, None] + SIZE / 2) % SIZE - SIZE / 2
    dy = (grid[None, :] - y[:, None] + SIZE / 2) % SIZE - SIZE / 2
    outline = SHAPES[rng.integers(len(SHAPES))]
    distance = outline(dx[:, None, :], dy[:, :, None])
    size = rng.uniform(*radius) * scale
    alpha = np.clip(size[:, None, None] - distance + 0.5, 0, 1).astype(np.float32)[..., None]
    colour = rng.uniform(*level, 3).astype(np.float32)
    frames += alpha * (colour - frames)


def write_video(path: Path, frames: np.ndarray, fps: int | Fraction = FPS) -> None:
    """Encode uint8 RGB ``[T, H, W, 3]`` as H.264 in one thread, so that the same frames give the same file."""
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
