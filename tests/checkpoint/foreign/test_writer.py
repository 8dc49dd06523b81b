from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.settings import AS_IS, LoadSettings
from tadshrink.checkpoint.foreign.writer import save_reference, to_reference
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.stages.drop import drop
from tests.checkpoint import reference_files as files

VIT = files.VIT


def identical(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first)


def round_trip(tmp_path: Path, source: Path, settings: LoadSettings, dictionary: str) -> tuple[dict[str, Any], str]:
    """Reference -> checkpoint -> tadshrink file -> checkpoint -> reference -> checkpoint."""
    imported = load_checkpoint(source, settings)
    save_checkpoint(tmp_path / "ours.pth", imported)
    loaded = load_checkpoint(tmp_path / "ours.pth")
    note = save_reference(tmp_path / "back.pth", loaded)
    before, after = (torch.load(path, weights_only=True) for path in (source, tmp_path / "back.pth"))
    assert identical(before[dictionary], after[dictionary])
    for name in ("state_dict", "state_dict_ema"):
        assert before[name].keys() == after[name].keys()
        assert identical({key.removeprefix("module."): value for key, value in after[name].items()},
                         {key.removeprefix("module."): value for key, value in after["state_dict"].items()})
    again = load_checkpoint(tmp_path / "back.pth", settings.model_copy(update={"weights": None, "dropped": None}))
    assert again.checksum == imported.checksum
    assert again.dropped == imported.dropped
    return after, note


KINDS = ("plain", "adapters", "lora", "dropped", "lora and dropped", "features", "actionformer", "half")


@pytest.mark.parametrize(("kind", "weights"), [
    *((kind, "ema") for kind in KINDS),
    *(pytest.param(kind, "raw", marks=() if kind in ("adapters", "lora and dropped", "actionformer") else pytest.mark.slow) for kind in KINDS)])
def test_what_comes_in_goes_out(tmp_path: Path, kind: str, weights: str) -> None:
    path, told = tmp_path / "in.pth", LoadSettings(weights=weights).over(files.TOLD)
    dropped = (3, 1) if "dropped" in kind else ()
    if dropped:
        told = LoadSettings(dropped=dropped).over(told)
    if kind == "features":
        files.write_opentad(path, files.weights(files.feature_config()))
    elif kind == "actionformer":
        files.write_actionformer(path, files.weights(files.feature_config("actionformer", relative_position=True, neck="fpn")))
    elif "lora" in kind or dropped:
        state = files.weights(files.video_config(), dropped)
        files.write_fork(path, files.add_lora(state, rank=4) if "lora" in kind else state)
    else:
        state = files.weights(files.video_config(adapters=(0, 2) if kind == "adapters" else ()))
        files.write_opentad(path, {name: value.half() for name, value in state.items()} if kind == "half" else state)
    content, note = round_trip(tmp_path, path, told, {"ema": "state_dict_ema", "raw": "state_dict"}[weights])
    assert content["epoch"] == 0
    assert content.get("drop_idx") == (list(dropped) or None)
    titles = {"features": "OpenTAD", "actionformer": "the original ActionFormer", "plain": "OpenTAD", "adapters": "OpenTAD", "half": "OpenTAD"}
    assert note.startswith(f"{titles.get(kind, 'Progressive Block Drop')}'s layout (")


@pytest.mark.parametrize("feed_forward", [4, 6])
def test_updates_of_the_feed_forward_layers_go_out_as_they_came(tmp_path: Path, feed_forward: int) -> None:
    state = files.add_lora(files.weights(files.video_config()), rank=4, feed_forward=feed_forward)
    state = {name: value for name, value in state.items() if not name.startswith(f"{VIT}blocks.2.attn.lora")}
    state = {name: value for name, value in state.items() if f"{VIT}blocks.2.mlp" not in name or ".lora." not in name}
    _, note = round_trip(tmp_path, files.write_fork(tmp_path / "in.pth", state), files.TOLD, "state_dict_ema")
    assert f"lora_rank 4{'' if feed_forward == 4 else ' and 6'}" in note


def imported(tmp_path: Path, **changes: Any) -> Checkpoint:
    path = files.write_opentad(tmp_path / "in.pth", files.weights(files.video_config(**changes)))
    return load_checkpoint(path, files.TOLD)


def test_the_configuration_that_the_file_needs_is_told(tmp_path: Path) -> None:
    path = files.write_fork(tmp_path / "in.pth", files.add_lora(files.weights(files.video_config(), [1]), rank=4))
    note = save_reference(tmp_path / "out.pth", load_checkpoint(path, files.TOLD))
    assert note == ("Progressive Block Drop's layout (only it has LoRA and dropped blocks), 196 weights; set there: arch (2, 2, 2), "
                    "max_seq_len 16, n_head 4, n_mha_win_size -1, depth 4, num_heads 2, drop_idx [1], lora_rank 4")


def test_blocks_dropped_here_make_it_a_file_of_the_fork(tmp_path: Path) -> None:
    source = imported(tmp_path)
    state = {name: value for name, value in source.state.items() if f"{VIT}blocks.2." not in name}
    note = save_reference(tmp_path / "out.pth", replace(source, state=state, dropped=[2]))
    assert note.startswith("Progressive Block Drop's layout (only it has dropped blocks)")
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    assert all(name.startswith("module.") for name in content["state_dict"])
    assert not any(name.startswith("module.") for name in content["state_dict_ema"])
    assert not any(f"{VIT}blocks.2." in name for name in content["state_dict"])
    assert load_checkpoint(tmp_path / "out.pth", files.TOLD).dropped == [2]


def test_adapters_and_dropped_blocks_together_are_cautioned(tmp_path: Path) -> None:
    source = imported(tmp_path, adapters=(0, 2))
    state = {name: value for name, value in source.state.items() if f"{VIT}blocks.1." not in name}
    assert "either adapters or dropped blocks" in save_reference(tmp_path / "out.pth", replace(source, state=state, dropped=[1]))


def test_a_scale_goes_into_the_updates(tmp_path: Path) -> None:
    path = files.write_fork(tmp_path / "in.pth", files.add_lora(files.weights(files.video_config()), rank=4))
    source = load_checkpoint(path, files.TOLD)
    doubled = to_reference(replace(source, lora={**source.lora, "alpha": 8.0}))["state_dict_ema"]
    plain = to_reference(source)["state_dict_ema"]
    for name, value in plain.items():
        assert torch.equal(doubled[name], value * 2 if name.endswith("lora_qkv.B") or name.endswith("lora_proj.B") else value)


def test_a_native_checkpoint_goes_to_opentad(tmp_path: Path) -> None:
    config = files.video_config(adapters=(1,))
    source = Checkpoint(config.model_dump(mode="json"), files.weights(config), list(config.classes))
    assert save_reference(tmp_path / "out.pth", source).startswith("OpenTAD's layout (the usual one)")
    assert identical(load_checkpoint(tmp_path / "out.pth", files.TOLD).state, source.state)


@pytest.mark.parametrize("variant", ["opentad", "actionformer"])
@pytest.mark.parametrize("dropped", [[0], [1], [1, 0]])
def test_a_shorter_stem_is_counted_through(tmp_path: Path, variant: str, dropped: list[int]) -> None:
    """The references number the blocks of a stem from 0; the list of dropped blocks gives the original numbers back."""
    config = files.feature_config(variant, stem_layers=3)
    source = Checkpoint(config.model_dump(mode="json"), files.weights(config, dropped), list(config.classes), dropped)
    note = save_reference(tmp_path / "out.pth", source)
    assert f"arch (2, {3 - len(dropped)}, 2)" in note
    stem = "backbone.stem." if variant == "actionformer" else "projection.stem."
    names = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    assert {name.removeprefix(f"module.{stem}")[0] for name in names if stem in name} == {str(index) for index in range(3 - len(dropped))}
    back = load_checkpoint(tmp_path / "out.pth", LoadSettings(attention_window=5))
    assert back.dropped == dropped
    assert DetectorConfig.parse(back.architecture, "").head.stem_layers == 3
    assert identical(back.state, source.state | {"rpn_head.loss_normalizer": back.state["rpn_head.loss_normalizer"]})


@pytest.mark.parametrize(
    ("config", "changes", "layout", "problem"),
    [
        (files.video_config(), {}, "actionformer", "its head computes something else with these weights; it has no video backbone"),
        (files.video_config(), {"dropped": [1]}, "opentad", "cannot be written for OpenTAD: it has no dropped blocks"),
        (files.video_config(), {"lora": {"rank": 1, "alpha": 1.0, "targets": [], "state": {}}}, "opentad", "it has no LoRA (merge first"),
        (files.feature_config("actionformer"), {}, "fork", "its head computes something else"),
        (files.feature_config(neck="fpn"), {}, None, "its neck has other weights"),
        (files.feature_config(relative_position=True), {}, None, "it has no relative positions"),
        (files.video_config(), {}, "other", "unknown layout 'other'. Choose one of opentad, fork, actionformer"),
    ],
)
def test_what_a_code_base_cannot_hold(tmp_path: Path, config: DetectorConfig, changes: dict[str, Any], layout: Any, problem: str) -> None:
    source = replace(Checkpoint(config.model_dump(mode="json"), files.weights(config), list(config.classes)), **changes)
    with pytest.raises(UserError) as caught:
        save_reference(tmp_path / "out.pth", source, layout)
    assert problem in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_two_dictionaries_are_stored_once(tmp_path: Path) -> None:
    path = files.write_opentad(tmp_path / "in.pth", files.weights(files.video_config()))
    save_reference(tmp_path / "out.pth", load_checkpoint(path, AS_IS))
    assert (tmp_path / "out.pth").stat().st_size < 0.6 * path.stat().st_size


@pytest.mark.parametrize("layout", [None, "opentad", "fork"])
def test_half_blocks_are_refused_in_one_line(tiny, tmp_path: Path, layout: str | None) -> None:
    drop(tiny.checkpoint, tmp_path / "a.pth", ["2.mlp", 0])
    with pytest.raises(UserError, match=r"it has no half blocks \(2\.mlp\)") as error:
        save_reference(tmp_path / "b.pth", load_checkpoint(tmp_path / "a.pth"), layout)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "b.pth").exists()
