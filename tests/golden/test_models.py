"""Whole models against the reference programs: features, logits, offsets, masks, proposals and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tadshrink.models.detector import DetectorOutput
from tadshrink.models.losses import detection_losses
from tests.golden import compact, shared
from tests.golden.cases import KINDS, Call, Models

SHARED, COMPACT = shared.families(), compact.families()
CLOSE = 1e-4


def of_family(family: str) -> list[object]:
    """The cases; slow are those that have a compact twin."""
    return [pytest.param(name, marks=pytest.mark.slow) if compact.PREFIX + name in COMPACT else name
            for name, found in {**COMPACT, **SHARED}.items() if found == family]


@pytest.mark.parametrize("name", of_family("adapters"))
def test_temporal_adapters(models: Models, name: str) -> None:
    check_outputs(models, name)


@pytest.mark.parametrize("name", of_family("tuned"))
def test_full_fine_tuning(models: Models, name: str) -> None:
    check_outputs(models, name)


@pytest.mark.parametrize("name", of_family("fork"))
def test_progressive_block_drop(models: Models, name: str) -> None:
    check_outputs(models, name)


@pytest.mark.parametrize("name", of_family("features"))
def test_actionformer_of_opentad_on_features(models: Models, name: str) -> None:
    check_outputs(models, name)


@pytest.mark.parametrize("name", of_family("actionformer"))
def test_original_actionformer(models: Models, name: str) -> None:
    check_outputs(models, name)


def test_every_family_has_a_case() -> None:
    assert set(COMPACT.values()) == {"adapters", "fork", "features", "actionformer"}
    assert set(SHARED.values()) in (set(), {*COMPACT.values(), "tuned"})


def check_outputs(models: Models, name: str) -> None:
    """Of every call with either weights that the reference made."""
    checked = 0
    for key, call in models.case(name).calls.items():
        for kind, expected in call.outputs.items():
            output = models.output(name, key, kind)
            where = f"{name} {key} {kind}"
            if "backbone_feature" in expected:
                close(output.features, expected["backbone_feature"], f"{where} features")
            for level in range(len(output.cls_logits)):
                close(output.cls_logits[level].transpose(1, 2), expected[f"cls_logit_l{level}"], f"{where} logits of level {level}")
                close(output.offsets[level].transpose(1, 2), expected[f"reg_offset_l{level}"], f"{where} offsets of level {level}")
                if f"mask_l{level}" in expected:
                    masks = output.masks[level].numpy()
                    np.testing.assert_array_equal(masks, expected[f"mask_l{level}"].reshape(masks.shape), where)
            assert f"cls_logit_l{len(output.cls_logits)}" not in expected
            check_proposals(output, call, expected, where)
            checked += 1
    assert checked


def check_proposals(output: DetectorOutput, call: Call, expected: dict[str, NDArray[np.float32]], where: str) -> None:
    """Segments and scores of valid points, which the reference lists one sample after the other."""
    valid, segments, scores = output.valid(), output.segments(), output.logits().sigmoid()
    for sample in range(len(call.inputs)):
        if f"proposals_b{sample}" in expected:
            wanted = expected[f"proposals_b{sample}"]
            close(segments[sample][valid[sample]], wanted, f"{where} proposals", CLOSE * np.maximum(1, np.abs(wanted)))
            close(scores[sample][valid[sample]], expected[f"scores_b{sample}"], f"{where} scores")


def close(found: torch.Tensor, expected: NDArray[np.float32], what: str, within: float | NDArray[np.float32] = CLOSE) -> None:
    assert found.shape == expected.shape, what
    worst = np.max(np.abs(found.numpy() - expected) / within)
    assert worst <= 1, f"{what}: off by {worst:.3g} times what is allowed"


@pytest.mark.parametrize("name", [*COMPACT, *SHARED])
def test_losses(models: Models, name: str) -> None:
    """In evaluation, and in training without its random parts, for which the outputs of evaluation stand."""
    for key, call in models.case(name).calls.items():
        for kind in KINDS:
            for expected in call.losses.get(kind, ()):
                detector = models.detector(name, kind)
                # Files hold a fraction of points with the raw weights; OpenTAD cuts it off when it loads them.
                normaliser = torch.tensor(float(expected.normaliser))
                if detector.config.head.variant == "opentad":
                    assert detector.rpn_head.loss_normalizer.floor() == normaliser
                losses = detection_losses(models.output(name, key, kind), list(call.segments), list(call.labels), normaliser,
                                          detector.config.head, expected.training)
                assert losses.cls.item() == pytest.approx(expected.cls, rel=1e-4), f"{key} {kind}"
                assert losses.reg.item() == pytest.approx(expected.reg, rel=1e-4), f"{key} {kind}"
