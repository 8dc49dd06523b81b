"""The blocks of commands in the README, run from top to bottom as they stand there, on small stand-ins for its files and datasets."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tadshrink.checkpoint.foreign.presets import THUMOS_CLASSES
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.models.presets import preset
from tests.checkpoint import reference_files as files
from tests.test_readme import ROOT, block_lines

#: Options that make a command short: those of the first beginning that fits.
SHORT = {
    "run --dataset synthetic": "--epochs 1 --metric mse --latency-runs 1",
    "run base.pth --dataset thumos14 --recipe": "--epochs 0 --metric cosine --latency-runs 1 --tolerance 100 --rank 4",
    "run base.pth --dataset my.yaml --target 25% --dry-run": "",
    "run": "--epochs 0 --metric cosine --latency-runs 1 --tolerance 100",
    "train": "--epochs 0",
    "profile --arch videomae-s --depth-vs-width": "--frames 32 --size 32 --runs 1 --savings 25",
    "profile epoch_59.pth": "--runs 1 --frames 64",
    "profile --arch": "",
    "profile": "--runs 1",
    "data make": "--videos 20",
    "sfc base": "--epochs 1 --batch-size 2",
    "sfc train": "--epochs 1",
}
#: The command of the tests is what runs this, and CI installs.
ELSEWHERE = ("pip install ", "pytest")
#: Of THUMOS-14 as block drop takes it, and of the videos in my.yaml; and of the synthetic ones.
LONG = SamplingConfig(window=768, frames_per_cell=1, snippet_stride=4, frame_size=160)
SHORTER = SamplingConfig(window=64, frames_per_cell=2, snippet_stride=2, frame_size=32)
AS_THEY_ARE = {"training": "training", "validation": "validation", "testing": "testing"}


def small_weights(config: DetectorConfig) -> files.State:
    """Random, and so small that nothing overflows in a deep model."""
    return {key: 0.02 * value for key, value in files.weights(config).items()}


@dataclass(frozen=True)
class Stage:
    """The folder that the commands run in."""

    folder: Path
    tiny: Any

    def detector(self, name: str, classes: Sequence[str] = (), sampling: SamplingConfig = SHORTER) -> None:
        """A small random detector on video, of twelve blocks."""
        backbone = self.tiny.config.backbone.model_copy(update={"depth": 12})
        classes = classes or self.tiny.config.classes
        config = self.tiny.config.model_copy(update={"classes": tuple(classes), "backbone": backbone, "sampling": sampling})
        save_checkpoint(self.folder / name, Checkpoint(config.model_dump(mode="json"), Detector(config).state_dict(), list(classes)))

    def mine(self, sampling: SamplingConfig) -> None:
        """The dataset my.yaml, for models with this sampling."""
        changes = {"name": "my", "root": str(self.tiny.folder), **sampling.model_dump(mode="json", exclude_unset=True)}
        (self.folder / "my.yaml").write_text(yaml.safe_dump(yaml.safe_load(self.tiny.yaml.read_text()) | changes))

    def opentad(self, name: str, config: DetectorConfig) -> None:
        """A random detector as OpenTAD writes it."""
        files.write_opentad(self.folder / name, small_weights(config))

    def actionformer(self, name: str) -> None:
        """One of the size of those that were released, on features."""
        config = DetectorConfig(classes=THUMOS_CLASSES, backbone=FeatureConfig(channels=2048),
                                head=HeadConfig(variant="actionformer", attention_window=19, stem_layers=2))
        files.write_actionformer(self.folder / name, small_weights(config))

    def videomae(self, name: str) -> None:
        """A random VideoMAE-S as MCG-NJU publish it."""
        state = small_weights(preset("videomae-s", ("a",)))
        backbone = {key.removeprefix(files.VIT): value for key, value in state.items() if key.startswith(files.VIT)}
        files.write_videomae(self.folder / name, backbone, "finetuned")

    def videos(self, annotations: str, videos: str, labels: Sequence[str], splits: Mapping[str, str] = AS_THEY_ARE, most: int = 9) -> None:
        """The tiny videos under other labels and names of splits, at most so many of each."""
        told = json.loads((self.tiny.folder / "annotations.json").read_text())["database"]
        named = dict(zip(self.tiny.config.classes, labels, strict=False))
        kept, counts = dict[str, Any](), Counter[str]()
        (self.folder / videos).mkdir(parents=True)
        for name, video in told.items():
            counts[video["subset"]] += 1
            if video["subset"] in splits and counts[video["subset"]] <= most:
                items = [item | {"label": named.get(item["label"], labels[0])} for item in video["annotations"]]
                # Of these names some are held out, even where it is a fifth of a few.
                (self.folder / videos / f"v{len(kept)}.mp4").symlink_to(self.tiny.video(name))
                kept[f"v{len(kept)}"] = video | {"subset": splits[video["subset"]], "annotations": items}
        self.annotations(annotations, kept)

    def features(self, annotations: str, features: str, channels: int, labels: Sequence[str], splits: tuple[str, str]) -> None:
        """Noise, with an action in each half of every recording."""
        random, database = np.random.default_rng(0), {}
        (self.folder / features).mkdir(parents=True)
        for number in range(12):
            items = [{"segment": [1.0 + 2.5 * half, 3.0 + 2.5 * half], "label": labels[(2 * number + half) % len(labels)]} for half in range(2)]
            database[f"v{number}"] = {"subset": splits[number % 3 == 2], "duration": 6.0, "fps": 30, "annotations": items}
            np.save(self.folder / features / f"v{number}.npy", random.normal(size=(42, channels)).astype(np.float32))
        self.annotations(annotations, database)

    def annotations(self, name: str, database: Mapping[str, Any]) -> None:
        """Write them as ActivityNet has them."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(json.dumps({"database": database}))


#: What a command finds, by its beginning, beside what those before it have left.
GIVEN: dict[str, Callable[[Stage], object]] = {
    "run base.pth --dataset thumos14": lambda stage: stage.detector("base.pth", THUMOS_CLASSES, LONG),
    "select base.pth": lambda stage: stage.detector("base.pth"),
    "run base.pth --dataset my.yaml": lambda stage: stage.detector("base.pth"),
    "profile epoch_59.pth": lambda stage: stage.opentad("epoch_59.pth", preset("videomae-s", THUMOS_CLASSES)),
    "run best.pth": lambda stage: (stage.mine(LONG), stage.opentad("best.pth", stage.tiny.config.model_copy(update={
        "backbone": BackboneConfig(width=24, depth=4, heads=6, table_size=160)}))),
    "eval epoch_034.pth.tar": lambda stage: stage.actionformer("epoch_034.pth.tar"),
    # What was made of best.pth goes: a work dir is that of one model.
    "train --dataset my.yaml": lambda stage: (stage.mine(SHORTER), stage.videomae("videomae_s_k400.pth"),
                                              shutil.rmtree(stage.folder / "tadshrink-runs" / "my-25pct")),
    "profile base.pth --vs": lambda stage: (stage.detector("base.pth"), stage.detector("final.pth")),
}


@pytest.fixture(scope="module")
def stage(tiny: Any, chain: Any, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """With the datasets where the README has them, and what the text takes for granted."""
    torch.manual_seed(0)
    made = Stage(tmp_path_factory.mktemp("readme"), tiny)
    for name in ("tadshrink", "sample_configs"):
        (made.folder / name).symlink_to(ROOT / name)
    made.mine(SHORTER)
    for name, source in (("holiday.mp4", tiny.video()), ("video.mp4", tiny.video()), ("final.pth", chain.merged)):
        shutil.copy(source, made.folder / name)
    made.videos("data/synthetic/annotations.json", "data/synthetic/videos", tiny.config.classes)
    made.videos("data/thumos-14/annotations/thumos_14_anno.json", "data/thumos-14/raw_data/video", THUMOS_CLASSES,
                {"training": "training", "testing": "validation"}, most=5)
    fir, hapt = (yaml.safe_load((ROOT / "sample_configs" / f"{name}.yaml").read_text())["classes"] for name in ("fir", "hapt"))
    made.videos("DATA/fir/annotations.json", "DATA/fir/videos", fir)
    made.features("DATA/hapt/annotations.json", "DATA/hapt/features", 300, hapt, ("training", "testing"))
    made.features("DATA/thumos/annotations/thumos14.json", "DATA/thumos/i3d_features", 2048, THUMOS_CLASSES, ("Validation", "Test"))
    return made


def lines() -> list[str]:
    """Of all blocks, without what is done elsewhere."""
    return [line for line in block_lines() if not line.startswith(ELSEWHERE)]


def first(table: Mapping[str, Any], command: str, default: Any) -> Any:
    """Of the first beginning that fits."""
    return next((value for beginning, value in table.items() if command.startswith(beginning)), default)


@pytest.mark.slow
def test_every_command_of_every_block_does_what_it_says(stage: Stage) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TADSHRINK_DATA": str(stage.folder / "data"), "OMP_NUM_THREADS": "1"}
    for line in lines():
        torchrun, _, command = line.rpartition("tadshrink ") if line.startswith("torchrun") else ("", "", line.removeprefix("tadshrink "))
        first(GIVEN, command, lambda _: None)(stage)
        start = ["-m", "torch.distributed.run", "--standalone", *shlex.split(torchrun)[1:], "tadshrink"] if torchrun else ["-m", "tadshrink"]
        done = subprocess.run([sys.executable, *start, *shlex.split(command), *shlex.split(first(SHORT, command, ""))], cwd=stage.folder,
                              env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    for made in ("ranked.pth", "for_opentad.pth", "timeline.png", "final.onnx", "detections.json", "sfc.pth",
                 "tadshrink-runs/my-25pct/final/model.pth", "tadshrink-runs/my-25pct/report.html"):
        assert (stage.folder / made).is_file(), made


def test_whatever_is_made_short_or_given_stands_in_the_readme() -> None:
    commands = [line.rpartition("tadshrink ")[2] for line in lines()]
    for beginning in [*SHORT, *GIVEN]:
        assert any(command.startswith(beginning) for command in commands), beginning
