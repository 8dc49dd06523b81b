from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.data.actions import ActionGrid
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.loader import inference_batches
from tadshrink.data.sources import open_source
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import split_videos
from tadshrink.models.detector import Detector
from tadshrink.models.losses import detection_losses
from tadshrink.stages import prune as module
from tadshrink.stages.align import align
from tadshrink.stages.drop import drop
from tadshrink.stages.evaluate import evaluate
from tadshrink.stages.export import export
from tadshrink.stages.merge import merge
from tadshrink.stages.profile import profile
from tadshrink.stages.prune import prune
from tests.profiling.models import FEATURES

pytestmark = pytest.mark.usefixtures("counted_once")


@pytest.fixture(scope="module")
def pruned(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("prune") / "pruned.pth"
    prune(tiny.checkpoint, output, PruneSettings(target="15%"), device="cpu")
    return output


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "random"])
def test_the_result_is_an_ordinary_smaller_checkpoint(importance: str, tiny: Any, tmp_path: Path) -> None:
    output = tmp_path / "pruned.pth"
    result = prune(tiny.checkpoint, output, PruneSettings(target="15%", importance=importance), tiny.choice, "cpu")
    counted = profile(output, measure=None)
    assert (counted.macs.total, counted.params) == (result.macs[1], result.params[1])
    assert result.saved == pytest.approx(0.15, abs=0.03)
    assert result.max_difference < 1e-4
    assert "pruned to" in counted.summary
    entry = load_checkpoint(output).history[-1]
    assert (entry["command"], entry["arguments"]["importance"], entry["metrics"]["macs"]) == ("prune", importance, result.macs[1])
    assert json.loads(json.dumps(result.to_json()))["saved"] == result.saved


def test_it_is_healed_by_align_and_composes_with_drop(pruned: Path, tiny: Any, tmp_path: Path) -> None:
    drop(pruned, tmp_path / "both.pth", [1])
    aligned = align(tmp_path / "both.pth", tiny.checkpoint, tiny.choice, tmp_path / "aligned.pth", AlignSettings(epochs=1, batch_size=4), "cpu")
    assert aligned.lora
    merge(tmp_path / "aligned.pth", tmp_path / "merged.pth", device="cpu")
    healed = load_checkpoint(tmp_path / "merged.pth")
    assert healed.dropped == [1]
    assert healed.architecture["backbone"]["kept"] == load_checkpoint(pruned).architecture["backbone"]["kept"]
    assert evaluate(tmp_path / "merged.pth", tiny.choice, device="cpu").average >= 0
    # The other order gives blocks to what is left only.
    drop(tiny.checkpoint, tmp_path / "dropped.pth", [1])
    prune(tmp_path / "dropped.pth", tmp_path / "again.pth", PruneSettings(target="10%"), device="cpu")
    assert load_checkpoint(tmp_path / "again.pth").dropped == [1]


def test_opentad_has_no_place_for_it(pruned: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="all its blocks are of one width"):
        export(pruned, opentad=tmp_path / "pruned_theirs.pth")


def test_pruned_blocks_are_healed_wherever_they_stand(pruned: Path, tiny: Any, tmp_path: Path) -> None:
    drop(pruned, tmp_path / "both.pth", [2])
    align(tmp_path / "both.pth", tiny.checkpoint, tiny.choice, tmp_path / "aligned.pth",
          AlignSettings(epochs=0, batch_size=4, lora_blocks="after-cut"), "cpu")
    updated = {int(name.split("blocks.")[1].split(".")[0]) for name in load_checkpoint(tmp_path / "aligned.pth").lora["state"]}
    whole, kept = tiny.config.backbone.sizes(0), load_checkpoint(pruned).architecture["backbone"]["kept"]
    assert updated == set(range(min(index for index, sizes in enumerate(kept) if tuple(sizes) != whole), 4)) - {2}


def test_of_a_checkpoint_that_tells_of_other_blocks_nothing_is_shown(pruned: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(pruned)
    checkpoint.architecture["backbone"]["kept"] = checkpoint.architecture["backbone"]["kept"][:1]
    save_checkpoint(tmp_path / "a.pth", checkpoint)
    with pytest.raises(UserError, match=r"backbone\.kept must be empty, or have heads and hidden units of every block"):
        profile(tmp_path / "a.pth", measure=None)


def test_pruned_twice(pruned: Path, tmp_path: Path) -> None:
    once = profile(pruned, measure=None).macs.total
    result = prune(pruned, tmp_path / "twice.pth", PruneSettings(target="10%"), device="cpu")
    assert result.macs[0] == once > result.macs[1]


def test_what_cannot_be(tiny: Any, tmp_path: Path) -> None:
    output = tmp_path / "out.pth"
    for settings, message in ((PruneSettings(importance="taylor"), "measured on videos"), (PruneSettings(target="3"), "not a share"),
                              (PruneSettings(target="95%"), "cannot be pruned")):
        with pytest.raises(UserError, match=message):
            prune(tiny.checkpoint, output, settings, device="cpu")
    head = FEATURES.head.model_copy(update={"relative_position": True, "attention_window": 3})
    for config, message in ((FEATURES.model_copy(update={"head": head}), "a stem with relative positions cannot be pruned"),
                            (FEATURES.model_copy(update={"head": FEATURES.head.model_copy(update={"stem_layers": 0})}), "no blocks")):
        save_checkpoint(tmp_path / "in.pth", Checkpoint(config.model_dump(mode="json"), Detector(config).state_dict(), list(config.classes)))
        with pytest.raises(UserError, match=f"in.pth: .*{message}"):
            prune(tmp_path / "in.pth", output, device="cpu")
    assert not output.exists()


def test_a_pruned_model_that_computes_something_else_is_not_written(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tadshrink.stages import prune as module

    monkeypatch.setattr(module, "silenced", lambda state, where, plan: {name: value + (0.1 if "proj" in name and value.dim() == 1 else 0)
                                                                        for name, value in state.items() if isinstance(value, torch.Tensor)})
    with pytest.raises(UserError, match="nothing was written"):
        prune(tiny.checkpoint, tmp_path / "out.pth", PruneSettings(target="15%"), device="cpu")
    assert not (tmp_path / "out.pth").exists()


def test_taylor_is_the_product_of_weight_and_gradient(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, by_taylor = dict[str, torch.Tensor](), module.by_taylor
    monkeypatch.setattr(module, "by_taylor", lambda where, products: seen.update(products) or by_taylor(where, products))
    module.prune(tiny.checkpoint, tmp_path / "a.pth", PruneSettings(target="15%", importance="taylor", batch_size=100), tiny.choice, "cpu")
    source, model = open_source(tiny.data, tiny.config.sampling), tiny.opened().detector.requires_grad_(True)
    (inputs, masks, places), = inference_batches(split_videos(tiny.data, HELDOUT), source, 100)
    segments, labels = zip(*[ActionGrid(tiny.data, HELDOUT, source).inside(place.video, place.window) for place in places], strict=True)
    detection_losses(model(inputs, masks), list(segments), list(labels), torch.tensor(1.0), tiny.config.head, training=False).total.backward()
    assert seen
    for name, value in seen.items():
        weight = model.get_parameter(name)
        torch.testing.assert_close(value, (weight * weight.grad).abs().detach(), rtol=1e-3, atol=1e-9)
