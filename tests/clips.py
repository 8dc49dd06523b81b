"""A tiny recognition dataset and recognisers for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.models.config import BackboneConfig
from tadshrink.recognition.config import ClipConfig, RecogniserConfig, SlowOnlyConfig
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.recognition.synthetic import CLASSES, make_synthetic_clips
from tadshrink.stages.recognisers import RecognitionChoice

ARCHITECTURES = {
    "vit": {"backbone": BackboneConfig(width=16, depth=3, heads=2, table_size=32, chunk_frames=4, drop_path=0.0),
            "clip": ClipConfig(frames=4, stride=2, size=32)},
    "slow": {"backbone": SlowOnlyConfig(depths=(1, 1, 1, 1), width=4, dropout=0.2), "clip": ClipConfig(frames=4, stride=2, size=32)},
}


@dataclass(frozen=True)
class TinyClips:
    """40 synthetic clips and a random recogniser of each kind, made once: tests must leave them as they are."""

    root: Path
    checkpoints: dict[str, Path]

    @property
    def choice(self) -> RecognitionChoice:
        return RecognitionChoice("synthetic-clips", self.root)

    def video(self, number: int = 0) -> Path:
        return self.root / "synthetic-clips" / "videos" / f"testing_{number:04d}.mp4"


@pytest.fixture(scope="session")
def tiny_clips(tmp_path_factory: pytest.TempPathFactory) -> TinyClips:
    """The dataset, and the recognisers with statistics of batch norms that are not those of new ones."""
    root = tmp_path_factory.mktemp("clips")
    make_synthetic_clips(root / "synthetic-clips", seed=2, videos=40)
    files = {}
    for number, (name, parts) in enumerate(ARCHITECTURES.items()):
        torch.manual_seed(number)
        config = RecogniserConfig(name=name, classes=CLASSES, **parts)
        recogniser = ActionRecogniser(config).train()
        recogniser(torch.randint(0, 256, (2, 2, 3, 4, 32, 32), dtype=torch.uint8))
        files[name] = root / f"{name}.pth"
        save_checkpoint(files[name], Checkpoint(config.model_dump(mode="json"), recogniser.state_dict(), list(CLASSES)))
    return TinyClips(root, files)
