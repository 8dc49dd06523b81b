"""The built-in recognition dataset: trimmed videos from the renderer of the detection dataset, one action each.

A video is several times as long as its action, which lies at a random place; the rest is a sprite that rests or wanders, and a
distractor all the time. So one clip from the middle rarely shows what the label says. Frames are wider than high, and the scene is
not in their middle. Every video depends only on (seed, split, number).
"""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tadshrink.data.synthetic import FPS, MOTIONS, SIZE, Look, Move, Plan, Track, render, write_video
from tadshrink.files import write_text
from tadshrink.recognition.data import BUILTIN
from tadshrink.recognition.records import TESTING, TRAINING
from tadshrink.reporting import SILENT, Reporter

NAME = "synthetic-clips"


def _sweep(x: int, y: int) -> Move:
    """Fast in the direction (x, y), and round the edges of the frame."""

    def move(frames: int, rng: np.random.Generator) -> Track:
        start, path = rng.uniform(0, SIZE, 2), rng.uniform(12, 22) * np.arange(frames) / FPS
        return (start[0] + x * path) % SIZE, (start[1] + y * path) % SIZE, np.ones(frames)

    return move


#: Motions that two seconds of them tell apart.
MOVES: dict[str, Move] = {
    "sweep-left": _sweep(-1, 0), "sweep-right": _sweep(1, 0), "sweep-up": _sweep(0, -1), "sweep-down": _sweep(0, 1),
    **{name: MOTIONS[name] for name in ("nod", "shake", "orbit-clockwise", "orbit-counterclockwise")},
}  # fmt: skip
CLASSES = tuple(sorted(MOVES))
LOOK = Look(MOVES, noise=(2, 6), wander_share=0.1)
#: How many of every five videos go to each split.
SPLITS = {TRAINING: 3, TESTING: 2}
#: Range of a video's length and of its action's, in seconds.
VIDEO, ACTION = (12.0, 14.0), (3.0, 4.5)
#: Pixels that a frame is wider than the scene in it.
MARGIN = 8


def make_synthetic_clips(root: Path, seed: int = 0, videos: int = 1000, reporter: Reporter = SILENT) -> Path:
    """Render the dataset as H.264 files below ``root/videos`` and write the list of them last; returns its path."""
    target = root / BUILTIN[NAME].clips
    target.unlink(missing_ok=True)
    names = [(split, number) for split, size in split_sizes(videos).items() for number in range(size)]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("path", "label", "subset"))
    with ThreadPoolExecutor(2) as pool, reporter.track("render synthetic clips", len(names)) as advance:
        for (split, _), (path, label) in zip(names, pool.map(lambda item: _make_one(root, seed, *item), names), strict=True):
            writer.writerow((path, label, split))
            advance(1, path)
    write_text(target, lines.getvalue())
    return target


def split_sizes(videos: int) -> dict[str, int]:
    """Number of videos of each split; their sum is ``videos``, and no split shrinks when ``videos`` grows."""
    turns = [split for split, share in SPLITS.items() for _ in range(share)]
    return {split: sum(turns[number % len(turns)] == split for number in range(videos)) for split in SPLITS}


def plan_clip(label: str, rng: np.random.Generator) -> Plan:
    """Draw the length of a video, and where its only action lies."""
    frames, length = (int(rng.uniform(*seconds) * FPS) for seconds in (VIDEO, ACTION))
    start = int(rng.integers(FPS // 2, frames - length - FPS // 2))
    return Plan(frames, ((start, start + length, label),))


def _make_one(root: Path, seed: int, split: str, number: int) -> tuple[str, str]:
    rng = np.random.default_rng([seed, list(SPLITS).index(split), number])
    label = CLASSES[number % len(CLASSES)]
    scene = render(plan_clip(label, rng), rng, LOOK)
    left = int(rng.integers(0, MARGIN + 1))
    path = f"videos/{split}_{number:04d}.mp4"
    write_video(root / path, np.pad(scene, ((0, 0), (0, 0), (left, MARGIN - left), (0, 0)), mode="edge"))
    return path, label
