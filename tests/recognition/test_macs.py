from __future__ import annotations

from functools import cache

import pytest
import torch

from tadshrink.errors import UserError
from tadshrink.recognition.config import RecogniserConfig, SfcConfig
from tadshrink.recognition.macs import RecogniserMacs, pass_macs, view_macs
from tadshrink.recognition.presets import preset
from tadshrink.recognition.profile import profile_recogniser
from tadshrink.recognition.recogniser import ActionRecogniser
from tests.recognition.models import SLOW_ONLY, VIT

#: Of one view of a slow-only R50 8x8 at 256x256, in G.
PARTS = {"stem": 1.23, "res2": 6.98, "res3": 10.74, "res4": 22.82, "res5": 12.75}
#: How much less than 30 views one pass over 10 clips costs without its module, by the last stage of the head, at these ratios.
RATIOS = {"res2": (5.2, 8.3, 11.7, 12.7), "res3": (4.5, 5.9, 7.0, 7.3), "res4": (3.4, 3.6, 3.8, 3.8)}


def blank(config: RecogniserConfig, sfc: SfcConfig | None = None, dropped: tuple[int, ...] = ()) -> ActionRecogniser:
    with torch.device("meta"):
        return ActionRecogniser(config.model_copy(update={"sfc": sfc}), dropped)


@cache
def r50() -> RecogniserMacs:
    return view_macs(blank(preset("slowonly-r50", [str(index) for index in range(400)])))


def test_slow_only_r50_by_stage() -> None:
    assert {name: count / 1e9 for name, count in r50().parts.items()} == pytest.approx(PARTS | {"classifier": 0.00082}, rel=0.01)
    assert r50().total / 1e9 == pytest.approx(54.52, rel=0.001)
    assert r50().total == sum(r50().parts.values())
    # By hand: 64 filters of 3 x 7 x 7 on 8 x 128 x 128.
    assert r50().parts["stem"] == 64 * 147 * 8 * 128 * 128


@pytest.mark.parametrize("split", RATIOS)
def test_slow_only_r50_compressed(split: str) -> None:
    """Ten clips through the head, and the share of their 80 steps that is left through the tail."""
    names = list(PARTS)
    head = sum(r50().parts[name] for name in names[:names.index(split) + 1])
    tail = r50().total - head - r50().parts["classifier"]
    for ratio, times in zip((1 / 2, 1 / 4, 1 / 8, 1 / 10), RATIOS[split], strict=True):
        left = SfcConfig(split=split, ratio=ratio).steps(80)
        assert round(30 * r50().total / (10 * head + tail * left / 8), 1) == times
    assert round(30 * r50().total / (10 * head), 1) == {"res2": 19.9, "res3": 8.6, "res4": 3.9}[split]


def test_one_pass_of_a_slow_only_by_hand() -> None:
    sfc = SfcConfig(split="res3", clips=4, ratio=0.25, width=5)
    view, whole = view_macs(blank(SLOW_ONLY)), pass_macs(blank(SLOW_ONLY, sfc))
    # 12 steps of 4 x 4 places become 3 steps, which is one clip's worth.
    module = 12 * 16 * 3 * (32 * 5 + 5 * 5) + 16 * 3 * 12 * (5 + 32)
    assert whole.parts["module"] == module
    assert [whole.parts[name] for name in ("stem", "res2", "res3")] == [4 * view.parts[name] for name in ("stem", "res2", "res3")]
    assert [whole.parts[name] for name in ("res4", "res5", "classifier")] == [view.parts[name] for name in ("res4", "res5", "classifier")]
    assert whole.total == sum(whole.parts.values())
    assert list(whole.parts) == ["stem", "res2", "res3", "res4", "res5", "module", "classifier"]


def test_a_vit_by_hand() -> None:
    # 2 steps of 2 x 2 places are 8 tokens.
    block, patches = 8 * 12 * 8**2 + 2 * 8 * 8 * 8, 8 * 8 * (3 * 2 * 16 * 16)
    view = view_macs(blank(VIT), views=3)
    assert view.parts == {"patch_embed": 3 * patches, **{f"block:{index}": 3 * block for index in range(3)}, "classifier": 3 * 8 * 3}
    sfc = SfcConfig(split="block:0", clips=4, ratio=0.5, width=4, kernel=(1, 1, 1), attention="space-time")
    whole = pass_macs(blank(VIT, sfc, dropped=(1,)))
    module = 32 * (8 * 4 + 4 * 4) + 16 * 32 * (4 + 8)
    # The four steps that are left are two groups of a clip's.
    blocks = {"block:0": 4 * block, "block:1": 0, "block:2": 2 * block}
    assert whole.parts == {"patch_embed": 4 * patches, **blocks, "module": module, "classifier": 24}
    assert whole.total == sum(whole.parts.values())
    assert "linear" not in whole.not_counted and "unfold" not in whole.not_counted


def test_conventions() -> None:
    recogniser = blank(VIT, SfcConfig(split="block:0", clips=4))
    # In fvcore a LayerNorm of 8 tokens counts 5 for each number, and fused attention nothing.
    assert view_macs(recogniser, convention="fvcore").parts["block:0"] == view_macs(recogniser).parts["block:0"] + 2 * 5 * 64 - 2 * 8 * 8 * 8
    with pytest.raises(UserError, match="unknown convention"):
        view_macs(recogniser, convention="x")
    with pytest.raises(UserError, match="means nothing for a recogniser"):
        profile_recogniser(recogniser, None, "paper")
    with pytest.raises(UserError, match="no compressing module"):
        pass_macs(blank(VIT))
