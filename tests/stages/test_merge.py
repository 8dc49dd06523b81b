from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.compress.lora import merged_copy
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.loader import inference_batches
from tadshrink.data.sources import open_source
from tadshrink.errors import UserError
from tadshrink.evaluation.inference import split_videos
from tadshrink.models.detector import Detector
from tadshrink.stages import merge as module
from tadshrink.stages.common import DatasetChoice
from tadshrink.stages.merge import TOLERANCE, largest_difference, merge


@torch.inference_mode()
def test_merged_equals_unmerged_on_real_windows(tiny, chain) -> None:
    before, after = tiny.opened(chain.aligned).detector, tiny.opened(chain.merged).detector
    inputs, masks, _ = next(inference_batches(split_videos(tiny.data, HELDOUT), open_source(tiny.data, tiny.config.sampling), 4))
    torch.testing.assert_close(after(inputs, masks).logits(), before(inputs, masks).logits(), rtol=0, atol=1e-5)


def test_merged_is_a_plain_model_with_the_names_of_the_model_before(chain) -> None:
    before, after = load_checkpoint(chain.dropped), load_checkpoint(chain.merged)
    assert after.lora is None
    assert after.state.keys() == before.state.keys()
    assert after.dropped == before.dropped


def test_history_says_what_was_done(tiny, chain) -> None:
    aligned, merged = load_checkpoint(chain.aligned), load_checkpoint(chain.merged)
    entry = merged.history[-1]
    assert (entry["command"], entry["parent"]) == ("merge", aligned.checksum)
    assert entry["arguments"] == {"dataset": str(tiny.yaml), "root": None, "tolerance": TOLERANCE}
    assert 0 <= entry["metrics"]["max_difference"] <= TOLERANCE


def test_the_dataset_may_be_named_or_is_the_one_of_the_alignment(tiny, chain, tmp_path: Path) -> None:
    merge(chain.aligned, tmp_path / "a.pth", tiny.choice, device="cpu")
    assert (tmp_path / "a.pth").read_bytes() == chain.merged.read_bytes()


@pytest.mark.parametrize("spoil", [1e-2, float("nan")])
def test_above_tolerance_it_fails_and_leaves_no_file(chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: float) -> None:
    def spoilt(detector: Detector) -> Detector:
        merged = merged_copy(detector)
        merged.rpn_head.get_parameter(next(name for name, _ in merged.rpn_head.named_parameters() if name.endswith("bias"))).data += spoil
        return merged

    monkeypatch.setattr(module, "merged_copy", spoilt)
    with pytest.raises(UserError, match=r"above the tolerance 1e-06: nothing was written"):
        merge(chain.aligned, tmp_path / "a.pth", tolerance=1e-6, device="cpu")
    assert not list(tmp_path.iterdir())


def test_the_difference_is_that_of_scores_and_of_offsets(tiny) -> None:
    first, second = tiny.opened().detector, tiny.opened().detector
    window = torch.zeros(1, 1, 3, 32, 32, 32, dtype=torch.uint8), torch.ones(1, 16, dtype=torch.bool)
    assert largest_difference(first, second, *window) == 0
    with torch.inference_mode():
        largest = first(*window).logits().abs().max().item()
    for name, value in second.named_parameters():
        if name.startswith("rpn_head.cls") and name.endswith("bias") and len(value) == len(tiny.config.classes):
            value.data -= 0.5
    assert largest_difference(first, second, *window) == pytest.approx(0.5 / largest, rel=1e-4)
    third = tiny.opened().detector
    for name, value in third.named_parameters():
        if name.startswith("rpn_head.reg") and name.endswith("bias") and len(value) == 2:
            value.data += 100
    assert largest_difference(first, third, *window) > 10


def test_a_model_without_updates_is_refused(chain, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no LoRA to merge"):
        merge(chain.dropped, tmp_path / "a.pth", device="cpu")


def test_without_a_known_dataset_the_outputs_are_compared_on_noise(chain, tmp_path: Path, interrupt) -> None:
    save_checkpoint(tmp_path / "a.pth", replace(load_checkpoint(chain.aligned), history=[]))
    reporter = interrupt()
    merged = merge(tmp_path / "a.pth", tmp_path / "b.pth", device="cpu", reporter=reporter)
    assert merged.checksum == load_checkpoint(chain.merged).checksum
    assert merged.max_difference < 1e-4
    assert any("a window of noise" in note for note in reporter.notes)


def test_a_dataset_that_is_gone_is_named(chain, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.yaml: no such dataset"):
        merge(chain.aligned, tmp_path / "b.pth", DatasetChoice("gone.yaml"), device="cpu")
