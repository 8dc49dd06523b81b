from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from tadshrink.checkpoint.format import Checkpoint, digest, record, weights_checksum
from tadshrink.checkpoint.io import load_checkpoint, load_payload, save_checkpoint, save_payload
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector, build_detector
from tadshrink.models.presets import preset


def example(**changes: Any) -> Checkpoint:
    fields: dict[str, Any] = {
        "architecture": preset("videomae-nano", ["run", "jump"]).model_dump(mode="json"),
        "state": {
            "weight": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),
            "half": torch.tensor([[0.5, -0.0]], dtype=torch.bfloat16),
            "count": torch.tensor(100),
            "none": torch.zeros(0, 2),
        },
        "classes": ["run", "jump"],
        "dropped": [2, 0],
        "ranking": {"metric": "mse", "scores": [0.1, 0.2]},
        "lora": {"rank": 1, "alpha": 1.0, "targets": ["qkv"], "state": {"A": torch.ones(3, 1)}},
    }
    return record(Checkpoint(**fields | changes), "train", {"lr": 1e-4, "betas": (0.9, 0.999)}, {"mAP": 0.25}, None)


def content(checkpoint: Checkpoint) -> dict[str, Any]:
    return dict(vars(checkpoint))


def stored(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The dict in a good file, for a test to spoil."""
    save_checkpoint(tmp_path / "good.pth", example(**changes))
    return torch.load(tmp_path / "good.pth", weights_only=True)


def sealed(payload: dict[str, Any]) -> dict[str, Any]:
    """``payload`` with the checksum that fits it."""
    rest = {key: value for key, value in payload.items() if key != "checksum"}
    return {**rest, "checksum": digest(rest)}


def refusal(path: Path, read: Callable[[Path], Any] = load_checkpoint) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    before = example()
    assert save_checkpoint(tmp_path / "a.pth", before) == before.checksum
    after = load_checkpoint(tmp_path / "a.pth")
    assert digest(content(after)) == digest(content(before))
    assert after.checksum == before.checksum
    assert list(after.state) == list(before.state)
    assert after.state["half"].dtype is torch.bfloat16
    assert after.history[0]["arguments"]["betas"] == (0.9, 0.999)


def test_a_whole_detector_comes_back(tmp_path: Path) -> None:
    config = preset("videomae-nano", ["run", "jump"])
    detector = Detector(config, dropped=[7, 2])
    saved = Checkpoint(config.model_dump(mode="json"), detector.state_dict(), list(config.classes), [7, 2])
    save_checkpoint(tmp_path / "a.pth", saved)
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert DetectorConfig.parse(loaded.architecture, "a.pth") == config
    built = build_detector(config, loaded.state, loaded.dropped, "a.pth")
    assert weights_checksum(built.state_dict(), None) == saved.checksum


def test_plain_torch_opens_it_and_finds_the_documented_keys(tmp_path: Path) -> None:
    assert set(stored(tmp_path)) == {
        "format", "format_version", "state_dict", "architecture", "classes", "dropped", "ranking", "lora", "history",
        "checksum",
    }  # fmt: skip
    assert stored(tmp_path)["format"] == "tadshrink-checkpoint"


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pth", example())
    save_checkpoint(tmp_path / "other-name.pth", load_checkpoint(tmp_path / "a.pth"))
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "other-name.pth").read_bytes()


def test_views_and_parameters_are_stored_small_and_apart(tmp_path: Path) -> None:
    large = torch.arange(1_000_000.0)
    state = {"view": large[10:14], "strided": large[:8:2], "wide": large[:1].expand(3), "own": nn.Parameter(large[:2])}
    save_checkpoint(tmp_path / "a.pth", example(state=state))
    assert (tmp_path / "a.pth").stat().st_size < 10_000
    loaded = load_checkpoint(tmp_path / "a.pth").state
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].is_contiguous()
        assert type(loaded[name]) is torch.Tensor
    loaded["view"].zero_()
    assert torch.equal(loaded["strided"], large[:8:2])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_plain_data_comes_back(tmp_path: Path, value: Any) -> None:
    save_payload(tmp_path / "a.pth", "training-state", {"value": value})
    assert load_payload(tmp_path / "a.pth", "training-state") == {"value": value}


def test_a_training_state_comes_back(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    payload = {
        "epoch": 3,
        "optimizer": optimizer.state_dict(),
        "rng": {"torch": torch.get_rng_state(), "python": random.getstate()},
    }
    save_payload(tmp_path / "a.pth", "training-state", payload)
    loaded = load_payload(tmp_path / "a.pth", "training-state")
    assert digest(loaded) == digest(payload)
    torch.optim.AdamW(model.parameters(), lr=0.5).load_state_dict(loaded["optimizer"])
    random.setstate(loaded["rng"]["python"])


def test_what_is_not_plain_data_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"a\[0\]: Linear is neither"):
        save_payload(tmp_path / "a.pth", "training-state", {"a": [nn.Linear(1, 1)]})
    with pytest.raises(TypeError, match="a: not a dense tensor"):
        save_payload(tmp_path / "a.pth", "training-state", {"a": torch.zeros(1, device="meta")})
    assert list(tmp_path.iterdir()) == []


def test_permissions_obey_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_checkpoint(tmp_path / "a.pth", example())
    finally:
        os.umask(before)
    assert (tmp_path / "a.pth").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: type[BaseException]
) -> None:
    save_checkpoint(tmp_path / "a.pth", example())
    before = (tmp_path / "a.pth").read_bytes()

    def half(value: Any, handle: Any) -> None:
        handle.write(before[: len(before) // 2])
        raise problem(28, os.strerror(28))

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(UserError if problem is OSError else problem):
        save_checkpoint(tmp_path / "a.pth", example(classes=["other"]))
    assert (tmp_path / "a.pth").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.pth"]


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            raise OSError(28, os.strerror(28))

    save = torch.save
    monkeypatch.setattr(torch, "save", lambda value, handle: save(value, Full(handle.name, "wb")))
    with pytest.raises(UserError, match=r"a.pth: cannot write \(No space left on device\)"):
        save_checkpoint(tmp_path / "a.pth", example())


def test_no_file_that_could_not_be_read_is_written(tmp_path: Path) -> None:
    bad = example(state={"w": torch.tensor([1.0, float("nan")]), "v": torch.tensor(float("inf"))}, dropped=[1, 1])
    with pytest.raises(UserError) as caught:
        save_checkpoint(tmp_path / "a.pth", bad)
    assert str(caught.value) == (
        f"{tmp_path / 'a.pth'}: cannot be saved: state_dict.w: has values that are not finite; "
        "state_dict.v: has values that are not finite; dropped: has the same item twice. Nothing was written"
    )
    assert list(tmp_path.iterdir()) == []


def bytes_of(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def zip_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (None, "no such file. "),
        (b"", "empty file. "),
        (b"some text, not weights\n" * 9, "not a torch file. "),
        (b"\0" * 100, "not a torch file. "),
        (b"PK\x03\x04", "damaged, incomplete or not a torch file. "),
        (zip_of("folder/a.txt"), "damaged, incomplete or not a torch file. "),
        (pickle.dumps({"a": 1}, protocol=2), "damaged, incomplete or not a torch file. "),
        (bytes_of({"a": torch.ones(99)})[:-30], "damaged, incomplete or not a torch file. "),
        (bytes_of({"a": torch.ones(99)})[:300], "damaged, incomplete or not a torch file. "),
        (bytes_of({"a": torch.ones(99)}, _use_new_zipfile_serialization=False)[:-30], "damaged, incomplete or "),
        (bytes_of({"a": np.float64(1)}), "refused: it asks to run numpy._core.multiarray.scalar, or is damaged; not"),
        (bytes_of(nn.Linear(1, 1)), "refused: it asks to run torch.nn.modules.linear.Linear, or is damaged; nothing"),
        (bytes_of({"epoch": 1, "state_dict": {}, "optimizer": {}}), "state_dict is empty, not a dictionary of weights. "),
        (bytes_of({"state_dict": 3}, _use_new_zipfile_serialization=False), "state_dict is int, not a dictionary of weights"),
        (bytes_of({str(key): 1 for key in range(9)}), "a torch file with top-level keys 0, 1, 2, 3, 4, and 4 more: no weights"),
        (bytes_of({"a\x1b[2J\ud800": 1}), r"a torch file with top-level keys a\x1b[2J\ud800: no weights found"),
        (bytes_of({}), "a torch file with nothing in it: no weights found"),
        (bytes_of([1]), "a torch file with a list in it, not a checkpoint"),
        (bytes_of(torch.ones(1)), "a torch file with a Tensor in it, not a checkpoint"),
        (bytes_of({"format": ["x"]}), "a torch file with top-level keys format: no weights found"),
        (bytes_of({"format": "tadshrink-training-state"}), "a tadshrink training-state file, not a checkpoint. "),
        (bytes_of({"format": "tadshrink-checkpoint"}), "format version or checksum is missing or wrong. "),
        (bytes_of({"format": "tadshrink-checkpoint", "format_version": 2}),
         "written by a newer tadshrink (format version 2; this one knows 1). Update tadshrink"),
    ],
)  # fmt: skip
def test_each_bad_file_is_one_line(tmp_path: Path, data: bytes | None, start: str) -> None:
    if data is not None:
        (tmp_path / "a.pth").write_bytes(data)
    assert refusal(tmp_path / "a.pth").startswith(start)


def test_a_folder_is_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("cannot be read (Is a directory)")


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"classes": ["a", "a"]}, "classes: has the same item twice"),
        ({"state_dict": {"w": torch.tensor([float("inf")])}}, "state_dict.w: has values that are not finite"),
        ({"state_dict": {"w": 3}, "dropped": [-1]}, "state_dict.w: Input should be an instance of Tensor; dropped.0: "),
        ({"extra": 1, "ranking": 3}, "ranking: Input should be a valid dictionary; extra: Extra inputs are not permi"),
        ({"dropped": [True]}, "dropped.0: should be the index of a block, or half of one"),
        ({"lora": {"rank": 0, "alpha": 1.0, "targets": []}}, "lora.rank: Input should be greater than 0; lora.state: "),
        ({"history": [{"command": "x"}]}, "history.0.arguments: Field required; history.0.version: Field required; "),
    ],
)
def test_all_problems_of_the_layout_are_told_together(tmp_path: Path, changes: dict[str, Any], problems: str) -> None:
    torch.save(sealed(stored(tmp_path) | changes), tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth").startswith(f"not a valid checkpoint: {problems}")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    payload = stored(tmp_path)
    del payload["history"], payload["classes"]
    torch.save(sealed(payload), tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth").startswith("not a valid checkpoint: classes: Field required; history: Field req")


def test_a_changed_content_does_not_match_its_checksum(tmp_path: Path) -> None:
    payload = stored(tmp_path)
    payload["state_dict"]["weight"][0, 0] += 1e-6
    torch.save(payload, tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth").startswith("damaged: the content does not match its checksum")


def test_content_that_has_no_checksum_is_damaged(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    for ranking in (endless, {"w": torch.zeros(2).to_sparse()}, {"w": torch.zeros(2, device="meta")}):
        torch.save(stored(tmp_path) | {"ranking": ranking}, tmp_path / "a.pth")
        assert refusal(tmp_path / "a.pth").startswith("damaged")


@pytest.mark.parametrize("value", [{"epoch": 1}, [1], {"format": ["x"]}])
def test_what_tadshrink_did_not_write_is_no_payload(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "a.pth")
    line = refusal(tmp_path / "a.pth", lambda path: load_payload(path, "training-state"))
    assert "this version reads only tadshrink training-state files" in line


def test_a_payload_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pth", example())
    line = refusal(tmp_path / "a.pth", lambda path: load_payload(path, "training-state"))
    assert line.startswith("a tadshrink checkpoint file, not a training-state")


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "write",
    [
        lambda value: bytes_of({"state_dict": value}),
        lambda value: bytes_of(value, _use_new_zipfile_serialization=False),
        lambda value: pickle.dumps(value, protocol=2),
        lambda value: pickle.dumps(value),
    ],
)
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, write: Callable[[Any], bytes]) -> None:
    (tmp_path / "a.pth").write_bytes(write(Malicious(tmp_path / "run")))
    line = refusal(tmp_path / "a.pth")
    assert line.startswith("refused: ")
    assert "nothing in it was run" in line
    assert not (tmp_path / "run").exists()


def test_damage_at_any_place_is_found_or_without_effect(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "good.pth", example())
    good = (tmp_path / "good.pth").read_bytes()
    expected = digest(content(example()))
    places = random.Random(0)
    for case in range(200):
        bad = bytearray(good)
        place = places.randrange(len(good))
        if case % 4:
            bad[place] ^= 1 << places.randrange(8)
        else:
            del bad[place:]
        (tmp_path / "bad.pth").write_bytes(bad)
        try:
            loaded = load_checkpoint(tmp_path / "bad.pth")
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert digest(content(loaded)) == expected
