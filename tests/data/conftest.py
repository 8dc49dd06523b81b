from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

#: Frame i of a clip is a plain grey of this level, from the first again after the last; far enough apart to be told apart after
#: compression.
LEVELS = 10 + 5 * np.arange(48)


def write_clip(path: Path, frames: int = 48, fps: int | Fraction = 25, codec: str = "libx264", size: tuple[int, int] = (64, 64),
               options: dict[str, str] | None = None, ticks: Sequence[int] | None = None) -> Path:
    """A clip whose frame i is plain grey of level i, with B-frames and a key frame every 12 frames at least.

    Args:
        fps: frames per second, or ticks per second where ``ticks`` are given.
        size: width, height.
        ticks: when each frame is shown, in 1/fps; by default one after the other.
    """
    defaults = {"g": "12", "bf": "2", "threads": "1"} | ({"crf": "10"} if codec == "libx264" else {"qmin": "1", "qmax": "1"})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or defaults)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), LEVELS[number % len(LEVELS)], np.uint8), format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[number], Fraction(1) / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes clips as :func:`write_clip` does, each only once: ``clips("a.mkv", codec="mpeg4")``."""
    written: dict[str, Path] = {}

    def make(name: str, **arguments: object) -> Path:
        key = f"{name} {sorted(arguments.items())}"
        if key not in written:
            written[key] = write_clip(tmp_path_factory.mktemp("clip") / name, **arguments)  # type: ignore[arg-type]
        return written[key]

    return make


def grey(frame: av.VideoFrame) -> int:
    """Which frame of a clip (of the first 48) a decoded frame is, by its luma (16 to 235): a conversion to RGB takes as long as decoding."""
    luma = frame.to_ndarray()[:frame.height].mean()
    return int(np.abs((luma - 16) * 255 / 219 - LEVELS).argmin())


def _numbers(frames: object) -> list[int]:
    means = frames.float().mean(dim=(1, 2, 3)).numpy()  # type: ignore[attr-defined]
    return np.abs(means[:, None] - LEVELS[None]).argmin(axis=1).tolist()


@pytest.fixture(scope="session")
def numbers() -> Callable[[object], list[int]]:
    """Tells from the grey of decoded frames ``[n, 3, H, W]`` which frames of a clip they are (of the first 48)."""
    return _numbers


#: Actions in seconds of the videos 0, 4, ..; 1, 5, ..; 2, 6, ..; 3, 7, .. of a split.
ACTIONS = ([(1.0, 3.0, "run")], [(0.0, 4.0, "jump")], [], [(0.5, 1.5, "jump"), (2.0, 3.0, "run")])
#: (video, split, actions) of :func:`toy`; the videos 0, 1, 2 and 5 of its training split are held out.
TOY = [(f"{split}_{number}", split, ACTIONS[number % 4]) for split, count in (("training", 8), ("testing", 2)) for number in range(count)]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset YAML with its annotations and its clips: 4 s at 12 frames per second, frame i of grey level i."""
    root = tmp_path_factory.mktemp("toy")
    (root / "videos").mkdir()
    database = {}
    for name, split, actions in TOY:
        write_clip(root / "videos" / f"{name}.mp4", fps=12, size=(32, 32))
        items = [{"segment": [start, end], "label": label} for start, end, label in actions]
        database[name] = {"subset": split, "duration": 4.0, "annotations": items}
    (root / "annotations.json").write_text(json.dumps({"database": database}))
    path = root / "toy.yaml"
    path.write_text("name: toy\nannotations: annotations.json\nvideos: videos\nclasses: [jump, run]\nheldout: 0.2\n"
                    "window: 8\nframes_per_cell: 2\nsnippet_stride: 2\nframe_size: 16\n")
    return path


@pytest.fixture(scope="session")
def feature_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset YAML with the actions of :func:`toy` and features of 2 channels: feature t of video n is (t, 100 + n).

    4 s at 12 frames per second, every 2 frames from the centre of the first 4: 23 features.
    """
    root = tmp_path_factory.mktemp("features")
    (root / "features").mkdir()
    database = {}
    for number, (name, split, actions) in enumerate(TOY):
        values = np.stack([np.arange(23), np.full(23, 100 + number)], axis=1).astype(np.float16)
        np.save(root / "features" / f"{name}.npy", values)
        items = [{"segment": [start, end], "label": label} for start, end, label in actions]
        database[name] = {"subset": split, "duration": 4.0, "annotations": items}
    (root / "annotations.json").write_text(json.dumps({"database": database}))
    path = root / "toy.yaml"
    path.write_text("name: toy\nannotations: annotations.json\nfeatures: features\nclasses: [jump, run]\nheldout: 0.2\n"
                    "fps: 12\nmode: whole\nwindow: 8\nsnippet_stride: 2\noffset_frames: 2\n")
    return path
