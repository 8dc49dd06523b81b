"""The tiny dataset and detector on which whole commands run in seconds."""

from __future__ import annotations

import copy
import os

# Before torch is imported: threads that spin while they wait slow each other down where cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hypothesis
import pytest
import torch
import yaml

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.compress.alignment import AlignSettings
from tadshrink.compress.select_settings import SelectOptions
from tadshrink.data.datasets import Dataset, load_dataset
from tadshrink.data.synthetic import CLASSES, make_synthetic
from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, PostprocessConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.reporting import SILENT, Advance, Reporter
from tadshrink.stages.align import align
from tadshrink.stages.common import DatasetChoice, Opened, open_detector
from tadshrink.stages.drop import drop
from tadshrink.stages.merge import merge
from tadshrink.stages.select import select
from tests.clips import tiny_clips  # noqa: F401
from tests.counting import counted_once  # noqa: F401
from tests.runs import tiny_run  # noqa: F401

# The tests run in two processes at a time, and their models are too small to share a product.
torch.set_num_threads(1)
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")

#: Files that take longest: they start first, so that no process is left alone with one of them at the end. Those that fork two processes
#: stand together, since the first of them starts what the others use.
LONG = ("test_contract.py", "test_align_parallel.py", "test_select_parallel.py", "test_distributed.py", "test_pipeline.py", "test_writing.py",
        "test_recogniser_drop.py", "test_sfc.py", "test_selection.py", "test_bad_input.py", "test_golden.py", "test_mutations.py",
        "test_models.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, in the order of :data:`LONG`."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


@dataclass(frozen=True)
class Tiny:
    """A dataset YAML with 14 videos of 32 pixels (3 of them held out), and a random detector of 4 blocks for it.

    Made once for all tests: they must leave it as it is.
    """

    folder: Path
    yaml: Path
    checkpoint: Path
    config: DetectorConfig

    @property
    def choice(self) -> DatasetChoice:
        return DatasetChoice(str(self.yaml))

    @property
    def data(self) -> Dataset:
        return _loaded(self.yaml)

    def video(self, name: str = "testing_0000") -> Path:
        return self.folder / "videos" / f"{name}.mp4"

    def opened(self, path: Path | None = None) -> Opened:
        """The detector, a copy of its own for each caller, or that of another checkpoint."""
        return open_detector(path, "cpu", SILENT) if path else copy.deepcopy(_opened(self.checkpoint))


@cache
def _loaded(path: Path) -> Dataset:
    return load_dataset(path)


@cache
def _opened(path: Path) -> Opened:
    return open_detector(path, "cpu", SILENT)


def _config() -> DetectorConfig:
    """Windows of 16 cells of 2 frames, 2 levels, and few candidates for NMS."""
    return DetectorConfig(
        name="tiny", classes=CLASSES,
        backbone=BackboneConfig(width=16, depth=4, heads=2, patch_size=16, table_size=32),
        head=HeadConfig(width=16, heads=2, levels=2, embed_layers=1, stem_layers=1, head_layers=1, regression_ranges=((0, 6), (6, 10000))),
        sampling=SamplingConfig(window=16, frames_per_cell=2, snippet_stride=4, frame_size=32),
        postprocess=PostprocessConfig(pre_nms_top_k=40, max_detections=60),
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny dataset and detector."""
    folder = tmp_path_factory.mktemp("tiny")
    make_synthetic(folder, seed=3, videos=14)
    settings = {"name": "tiny", "annotations": "annotations.json", "videos": "videos", "classes": list(CLASSES), "heldout": 0.4,
                "window": 16, "frames_per_cell": 2, "snippet_stride": 4, "frame_size": 32}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    config = _config()
    torch.manual_seed(5)
    save_checkpoint(folder / "base.pth", Checkpoint(config.model_dump(mode="json"), Detector(config).state_dict(), list(CLASSES)))
    return Tiny(folder, folder / "tiny.yaml", folder / "base.pth", config)


@dataclass(frozen=True)
class Chain:
    """One drop by hand: the checkpoint of every stage."""

    ranked: Path
    dropped: Path
    aligned: Path
    merged: Path
    settings: AlignSettings


@pytest.fixture(scope="session")
def chain(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """select, drop, align and merge of the tiny detector. Made once, not to be changed."""
    folder = tmp_path_factory.mktemp("chain")
    made = Chain(*(folder / f"{name}.pth" for name in ("ranked", "dropped", "aligned", "merged")), AlignSettings(epochs=2, batch_size=4))
    select(tiny.checkpoint, tiny.choice, made.ranked, SelectOptions(metric="mse"), device="cpu")
    drop(made.ranked, made.dropped)
    align(made.dropped, tiny.checkpoint, tiny.choice, made.aligned, made.settings, device="cpu")
    merge(made.aligned, made.merged, device="cpu")
    return made


class Interrupt(Reporter):
    """Raises KeyboardInterrupt after a number of steps of the work that is called ``name``; keeps all notes."""

    def __init__(self, name: str = "", steps: int = 0) -> None:
        self.name, self.steps, self.notes = name, steps, []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        left = self.steps if self.name and self.name in description else 1 << 30

        def advance(count: int, text: str) -> None:
            nonlocal left
            left -= count
            if left <= 0:
                raise KeyboardInterrupt

        yield advance


@pytest.fixture
def interrupt() -> type[Interrupt]:
    """The class :class:`Interrupt`."""
    return Interrupt
