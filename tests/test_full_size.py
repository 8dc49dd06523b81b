"""Files as large as the released ones: random weights under the documented names, through the one door."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import tadshrink
from tadshrink.checkpoint.foreign.names import actionformer_to_theirs
from tadshrink.checkpoint.foreign.presets import PRESETS
from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.profiling.macs import count_macs, parameters
from tadshrink.profiling.windows import example_window

SIZES = {"s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16)}
#: preset -> backbone (width, depth, heads) or channels of features, width of the head, classes, adapters.
MODELS = {
    **{f"adatad-thumos-videomae-{size}": (SIZES[size], 512, 20, True) for size in SIZES},
    **{f"adatad-anet-videomae-{size}": (SIZES[size], 256, 1, True) for size in SIZES},
    "pbd-thumos-videomae-s": (SIZES["s"], 512, 20, False),
    "opentad-actionformer-thumos-i3d": (2048, 512, 20, False),
    "actionformer-thumos-i3d": (2048, 512, 20, False),
}


def sketch(name: str) -> Detector:
    """The documented shapes, without data."""
    body, head, classes, adapters = MODELS[name]
    if isinstance(body, int):
        backbone: BackboneConfig | FeatureConfig = FeatureConfig(channels=body)
    else:
        width, depth, heads = body
        extra = {"adapters": tuple(range(depth)), "adapter_width": width // 4} if adapters else {}
        backbone = BackboneConfig(width=width, depth=depth, heads=heads, **extra)
    variant = "actionformer" if name.startswith("actionformer") else "opentad"
    labels = tuple(map(str, range(classes)))
    head_config, sampling = HeadConfig(width=head, variant=variant), SamplingConfig(window=768)
    config = DetectorConfig(classes=labels, backbone=backbone, head=head_config, sampling=sampling)
    with torch.device("meta"):
        return Detector(config)


def write(name: str, path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.randn(value.shape, generator=generator) * 0.02 for key, value in sketch(name).state_dict().items()}
    state["rpn_head.loss_normalizer"] = torch.tensor(134)
    own = actionformer_to_theirs(state) if name.startswith("actionformer") else state
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in own.items()}}, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_it_loads_runs_and_is_counted(name: str, tmp_path: Path) -> None:
    body, head, classes, _ = MODELS[name]
    detector = tadshrink.load(write(name, tmp_path / "full.pth"), preset=name)
    config = detector.config
    assert (config.inputs, config.head.width, len(config.classes)) == (body if isinstance(body, int) else body[0], head, classes)
    inputs, masks = example_window(config)
    macs = count_macs(detector, inputs, masks)
    assert len(macs.per_block) == config.block_count
    print(f"{name}: {parameters(detector):,} parameters, {macs.total / 1e9:.1f} GMACs for a window {tuple(inputs.shape)}")
    # One chunk of frames instead of 48: the features are stretched to the same window.
    output = detector(inputs if isinstance(body, int) else inputs[:, :, :, :16], masks)
    assert [logits.shape for logits in output.cls_logits] == [(1, config.sampling.window // 2**level, classes) for level in range(6)]
    assert all(torch.isfinite(logits).all() for logits in output.cls_logits)


@pytest.mark.parametrize("name", [name for name in MODELS if name in PRESETS])
def test_the_presets_are_those_of_the_documented_models(name: str) -> None:
    body, head, classes, _ = MODELS[name]
    expects, settings = PRESETS[name].expects, PRESETS[name].settings
    assert expects["head_width"] == head
    assert (expects["channels"] if isinstance(body, int) else (expects["width"], settings["depth"], settings["heads"])) == body
    assert len(settings.get("classes", range(classes))) == classes
    assert str(ModelFile(Path("a.pth"), LoadSettings(preset=name))) == "a.pth"


def test_every_size_of_videomae_has_the_documented_number_of_weights() -> None:
    # 12 D^2 + 13 D - D (no key bias) per block, patches, and the norm that is never applied.
    for name in ("adatad-thumos-videomae-s", "adatad-thumos-videomae-b", "adatad-thumos-videomae-l"):
        (width, depth, _), *_ = MODELS[name]
        state = sketch(name).state_dict()
        vit = sum(value.numel() for key, value in state.items() if re.match(r"backbone\.(?!.*(adapter|pos_embed))", key))
        assert vit == depth * (12 * width**2 + 12 * width) + width * (3 * 2 * 16 * 16) + width + 2 * width
