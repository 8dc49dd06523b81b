from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tadshrink.data.feature_files import READERS, read_features
from tadshrink.errors import UserError

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def write_h5(path: Path, **arrays: np.ndarray) -> None:
    with h5py.File(path, "w") as stored:
        for name, values in arrays.items():
            stored[name.replace("_in_", "/")] = values


#: By extension: how to write named arrays.
WRITERS: dict[str, Callable[..., Any]] = {
    "npz": lambda path, **arrays: np.savez(path, **arrays),
    "h5": write_h5,
    "hdf5": write_h5,
    "pt": lambda path, **arrays: torch.save({name: torch.from_numpy(values) for name, values in arrays.items()}, path),
}


@pytest.mark.parametrize("extension", WRITERS)
def test_the_only_array_or_the_one_with_a_usual_name(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    WRITERS[extension](path, anything=VALUES)
    np.testing.assert_array_equal(read_features(path), VALUES)
    np.testing.assert_array_equal(read_features(path, transposed=True), VALUES.T)
    WRITERS[extension](path, other=VALUES + 1, feats=VALUES)
    np.testing.assert_array_equal(read_features(path), VALUES)
    WRITERS[extension](path, other=VALUES, another=VALUES)
    with pytest.raises(UserError, match=rf"a\.{extension}: 2 arrays \(\w+, \w+\), and none is called feats"):
        read_features(path)


def test_a_bare_tensor_of_any_type_and_an_array_within_a_group(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(VALUES).bfloat16().requires_grad_(), tmp_path / "a.pt")
    np.testing.assert_array_equal(read_features(tmp_path / "a.pt"), VALUES)
    write_h5(tmp_path / "a.h5", video_in_features=VALUES)
    np.testing.assert_array_equal(read_features(tmp_path / "a.h5"), VALUES)


@pytest.mark.parametrize("extension", READERS)
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 half a zip", b"\x89HDF\r\n\x1a\n"])
def test_damaged_files(tmp_path: Path, extension: str, content: bytes) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_features(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        read_features(path)


@pytest.mark.parametrize("content", [torch.eye(3).to_sparse(), torch.zeros(3, 3, device="meta")])
def test_tensors_that_hold_no_array(tmp_path: Path, content: torch.Tensor) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt: the features cannot be read"):
        read_features(tmp_path / "a.pt")


def test_a_damaged_table_in_a_sound_archive(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", feats=np.random.default_rng(0).random((99, 9)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for place in range(200, len(content) - 200, 300):
        (tmp_path / "b.npz").write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1:])
        with pytest.raises(UserError, match=r"b\.npz: the features cannot be read"):
            read_features(tmp_path / "b.npz")


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save(Evil(), tmp_path / "a.pt")
    with pytest.raises(UserError, match="refused"):
        read_features(tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", feats=np.array([[Evil()]], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        read_features(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [3, [1, 2], {"feats": "text"}, {}, torch.zeros(3)])
def test_torch_files_without_a_table(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt: (not a table of features|0 arrays)"):
        read_features(tmp_path / "a.pt")
