from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig
from tadshrink.recognition.config import ClipConfig, RecogniserConfig, SfcConfig, SlowOnlyConfig
from tadshrink.recognition.opening import open_recogniser, read_recogniser, summary
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.recognition.views import noise
from tests.checkpoint import reference_files
from tests.notes import Notes
from tests.recognition.models import clips, made

State = dict[str, Tensor]
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
SLOW = RecogniserConfig(
    classes=("a", "b"), backbone=SlowOnlyConfig(depths=(1, 2, 1, 1), width=4), clip=ClipConfig(frames=8, stride=8, size=256),
)
VIT = RecogniserConfig(classes=("a", "b"), backbone=BackboneConfig(width=128, depth=2, heads=2))


def pinned_slow_only() -> set[str]:
    """mmaction2's names of a slow-only network with 1, 2, 1 and 1 bottlenecks."""
    layers = ["conv1", *(f"layer{block}.{conv}" for block in ("1.0", "2.0", "2.1", "3.0", "4.0") for conv in ("conv1", "conv2", "conv3")),
              *(f"layer{stage}.0.downsample" for stage in (1, 2, 3, 4))]
    names = {f"backbone.{layer}.{name}" for layer in layers for name in ("conv.weight", *(f"bn.{name}" for name in BN))}
    return names | {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"}


def pinned_vit() -> set[str]:
    """mmaction2's names of a VideoMAE recogniser with two blocks."""
    block = {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.q_bias", "attn.v_bias", "attn.qkv.weight", "attn.proj.weight",
             "attn.proj.bias", "mlp.layers.0.0.weight", "mlp.layers.0.0.bias", "mlp.layers.1.weight", "mlp.layers.1.bias"}
    rest = {"pos_embed", "patch_embed.projection.weight", "patch_embed.projection.bias", "fc_norm.weight", "fc_norm.bias"}
    names = {f"backbone.{name}" for name in rest | {f"blocks.{index}.{name}" for index in range(2) for name in block}}
    return names | {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"}


@pytest.mark.parametrize(("config", "names"), [(SLOW, pinned_slow_only()), (VIT, pinned_vit())])
def test_key_names_are_mmaction2s(config: RecogniserConfig, names: set[str]) -> None:
    assert set(made(config).state_dict()) == names


def released(state: State) -> State:
    """Under the names of a VideoMAE release, which has no position table."""
    rules = {"cls_head.fc_cls": "head", "backbone.": "", "patch_embed.projection": "patch_embed.proj", "layers.0.0": "fc1", "layers.1.": "fc2."}
    names = {}
    for name in state:
        theirs = name
        for ours, other in rules.items():
            theirs = theirs.replace(ours, other)
        names[name] = theirs
    return {names[name]: value for name, value in state.items() if not name.endswith("pos_embed")}


FORMS: dict[str, tuple[RecogniserConfig, Callable[[State], dict[str, Any]], str]] = {
    "slow-only": (SLOW, lambda state: {"meta": {"epoch": 1}, "state_dict": state}, "slow-only recogniser of mmaction2: 2 classes"),
    "mmaction2": (VIT, lambda state: {"meta": {"epoch": 1}, "state_dict": state}, "VideoMAE recogniser of mmaction2: 2 classes, 128 wide"),
    "release": (VIT, lambda state: {"module": released(state)}, "VideoMAE recogniser of MCG-NJU, fine-tuned: 2 classes, 128 wide"),
}


def written(path: Path, form: str, change: Callable[[State], Any] = lambda state: None) -> tuple[Path, ActionRecogniser]:
    config, pack, _ = FORMS[form]
    recogniser = made(config)
    content = pack(recogniser.state_dict())
    change(content.get("state_dict", content.get("module")))
    torch.save(content, path)
    return path, recogniser


@pytest.mark.parametrize("form", FORMS)
def test_files_of_others_compute_the_same(tmp_path: Path, form: str) -> None:
    notes = Notes()
    path, recogniser = written(tmp_path / "a.pth", form)
    checkpoint = read_recogniser(path, notes)
    config, opened = RecogniserConfig.parse(checkpoint.architecture, path), open_recogniser(checkpoint, path)
    assert (config.clip, config.classes, config.sfc) == (recogniser.config.clip, ("class 0", "class 1"), None)
    assert all(torch.equal(value, recogniser.state_dict()[name]) for name, value in opened.state_dict().items())
    views = noise(config.clip, 2)
    assert torch.equal(opened.eval()(views), recogniser.eval()(views))
    assert notes.lines[0].startswith(FORMS[form][2])
    assert "the file has no class names (--set classes=FILE)" in notes.lines
    assert [entry["command"] for entry in checkpoint.history] == ["import"]


@pytest.mark.parametrize(
    ("form", "change", "problem"),
    [
        ("slow-only", lambda s: s.pop("backbone.layer2.1.conv2.bn.bias"), "1 missing (backbone.layer2.1.conv2.bn.bias)"),
        ("slow-only", lambda s: s.update({"backbone.conv1.conv.weight": torch.ones(4, 3, 5, 7, 7)}),
         "1 of the wrong shape (backbone.conv1.conv.weight (4, 3, 5, 7, 7) instead of (4, 3, 1, 7, 7))"),
        ("slow-only", lambda s: s.update({"backbone.nonlocal.g.weight": torch.ones(1)}), "1 left over (backbone.nonlocal.g.weight)"),
        ("slow-only", lambda s: s.pop("cls_head.fc_cls.weight"), "no classification layer"),
        ("slow-only", lambda s: s.pop("backbone.conv1.conv.weight"), "mmaction"),
        ("slow-only", lambda s: s.update({"backbone.conv1.bn.bias": torch.full((4,), float("nan"))}), "bn.bias has values that are not finite"),
        ("mmaction2", lambda s: s.update({"backbone.norm.weight": torch.ones(128)}), "1 left over (backbone.norm.weight)"),
        ("mmaction2", lambda s: s.update({"cls_head.fc_cls.bias": torch.ones(3)}), "1 of the wrong shape (cls_head.fc_cls.bias (3,)"),
        ("release", lambda s: s.pop("head.weight"), "no classification layer"),
        ("release", lambda s: s.pop("head.bias"), "1 missing (cls_head.fc_cls.bias)"),
        ("release", lambda s: [s.pop("fc_norm.weight"), s.pop("fc_norm.bias")], "2 missing (backbone.fc_norm.weight, backbone.fc_norm.bias)"),
    ],
)  # fmt: skip
def test_files_that_are_not_whole(tmp_path: Path, form: str, change: Callable[[State], Any], problem: str) -> None:
    path, _ = written(tmp_path / "a.pth", form, change)
    with pytest.raises(UserError) as caught:
        read_recogniser(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert problem in text


def test_settings_say_what_weights_cannot(tmp_path: Path) -> None:
    path, _ = written(tmp_path / "a.pth", "mmaction2")
    notes, settings = Notes(), LoadSettings(heads=4, frame_size=64, snippet_stride=2, classes=("x", "y"))
    config = RecogniserConfig.parse(read_recogniser(ModelFile(path, settings), notes).architecture, path)
    assert (config.backbone.heads, config.clip, config.classes) == (4, ClipConfig(stride=2, size=64), ("x", "y"))
    assert not any("class names" in line for line in notes.lines)


@pytest.mark.parametrize(
    ("form", "settings", "problem"),
    [
        ("mmaction2", {"nms": "hard", "window": 3}, "no setting of a recogniser: nms, window"),
        ("mmaction2", {"preset": "adatad-thumos-videomae-s"}, "no setting of a recogniser: preset"),
        ("mmaction2", {"classes": ("x",)}, "1 class names, but the classification layer has 2 classes"),
        ("mmaction2", {"heads": 3}, "backbone.width must be a multiple of backbone.heads"),
        ("mmaction2", {"clip_frames": 8}, "(pos_embed (1, 1568, 128) instead of (1, 784, 128))"),
        ("slow-only", {"heads": 3}, "heads: a slow-only network has none"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, form: str, settings: dict[str, Any], problem: str) -> None:
    path, _ = written(tmp_path / "a.pth", form)
    with pytest.raises(UserError) as caught:
        read_recogniser(ModelFile(path, LoadSettings(**settings)))
    assert problem in str(caught.value)


def own(path: Path, sfc: SfcConfig | None = None) -> ActionRecogniser:
    config = SLOW.model_copy(update={"clip": ClipConfig(frames=4, size=32), "sfc": sfc})
    recogniser = made(config, sfc)
    save_checkpoint(path, Checkpoint(config.model_dump(mode="json"), recogniser.state_dict(), list(config.classes)))
    return recogniser


def test_a_checkpoint_of_our_own(tmp_path: Path) -> None:
    path, notes = tmp_path / "a.pth", Notes()
    recogniser = own(path, SfcConfig(split="res3", clips=3, ratio=0.25))
    checkpoint = read_recogniser(path, notes)
    views = clips(recogniser.config, 3)
    assert torch.equal(open_recogniser(checkpoint, path).compress(views), recogniser.compress(views))
    assert notes.lines == ["recogniser custom · slow-only ResNet of 5 bottlenecks · clips of 4x4 frames of 32 pixels · 2 classes · "
                           "compressing 3 clips to 0.25 after res3"]


def test_settings_on_a_checkpoint_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    own(path)
    checkpoint = read_recogniser(ModelFile(path, LoadSettings(classes=("x", "y"), snippet_stride=7)))
    assert (checkpoint.classes, checkpoint.architecture["clip"]["stride"], checkpoint.history[-1]["command"]) == (["x", "y"], 7, "set")
    with pytest.raises(UserError, match="weights: a tadshrink checkpoint has one set of them"):
        read_recogniser(ModelFile(path, LoadSettings(weights="ema")))


def test_detectors_and_recognisers_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    own(path)
    with pytest.raises(UserError, match=r"a recogniser of trimmed videos, not a detector. Give a detector; recognisers are for"):
        load_checkpoint(path)
    save_checkpoint(path, Checkpoint(DetectorConfig(classes=("a",)).model_dump(mode="json"), {}, ["a"]))
    with pytest.raises(UserError, match="a detector, not a recogniser"):
        read_recogniser(path)
    with pytest.raises(UserError, match="no classification layer"):
        read_recogniser(reference_files.write_opentad(path, reference_files.weights(reference_files.video_config())))


def test_dropped_blocks_are_in_the_summary() -> None:
    checkpoint = Checkpoint(VIT.model_dump(mode="json"), {}, ["a", "b"], dropped=[1, "0.mlp"])
    assert "ViT 128 wide, 2 blocks, 0.mlp, 1 of them dropped · clips" in summary(checkpoint)
