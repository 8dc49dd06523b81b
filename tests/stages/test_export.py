from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.checkpoint.opening import ModelFile
from tadshrink.errors import UserError
from tadshrink.onnx_export import writing
from tadshrink.onnx_export.checking import Difference
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.reporting import SILENT
from tadshrink.stages.detect import detect
from tadshrink.stages.evaluate import evaluate
from tadshrink.stages.export import CALIBRATED, COMPARED, Seen, export
from tadshrink.stages.opening import open_model


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What :func:`writing.write_onnx` is called with; it writes nothing."""
    seen: dict[str, Any] = {}

    def write(detector, checksum, path, settings, windows, calibration=None, reporter=SILENT) -> writing.OnnxWritten:
        seen.update(checksum=checksum, settings=settings, windows=windows, calibration=calibration)
        return writing.OnnxWritten("fp32", "cpu", Difference(0.0, 0.0, 0.0), (str(path),))

    monkeypatch.setattr(writing, "write_onnx", write)
    return seen


def test_nothing_to_write(tiny) -> None:
    with pytest.raises(UserError, match=r"nothing to write\. Give --onnx OUT"):
        export(tiny.checkpoint)


def test_lora_is_refused_in_one_line(tiny, tmp_path: Path) -> None:
    lora = {"rank": 1, "alpha": 1.0, "targets": ["qkv"], "state": {}}
    save_checkpoint(tmp_path / "aligned.pth", replace(load_checkpoint(tiny.checkpoint), lora=lora))
    with pytest.raises(UserError, match=r"aligned.pth: its LoRA is not merged yet\. First: tadshrink merge CKPT -o merged.pth"):
        export(tmp_path / "aligned.pth", onnx=tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["aligned.pth"]


def test_what_it_is_checked_on_is_told(tiny, tmp_path: Path, written: dict[str, Any]) -> None:
    for seen, text in ((None, "a window of noise"), (Seen(tiny.choice), f"{COMPARED} windows of {tiny.yaml}"),
                       (Seen(file=tiny.video()), f"windows of {tiny.video()}")):
        result = export(tiny.checkpoint, onnx=tmp_path / "a.onnx", seen=seen)
        assert result.onnx is not None and result.onnx["windows"].endswith(text)
        assert written["checksum"] == result.checksum
        inputs, masks = written["windows"]
        assert inputs.shape[1:] == (1, 3, 32, 32, 32)
        assert len(inputs) == len(masks) == (1 if seen is None else COMPARED)
    assert result.written == {str(tmp_path / "a.onnx"): "ONNX, fp32; checked with cpu"}


def test_int8_is_calibrated_where_that_is_asked_for_and_on_real_windows_only(tiny, tmp_path: Path, written: dict[str, Any]) -> None:
    export(tiny.checkpoint, onnx=tmp_path / "a.onnx", settings=OnnxSettings("int8", static=True), seen=Seen(tiny.choice))
    # The three held-out videos have fewer windows than that.
    assert COMPARED < len(written["calibration"][0]) <= CALIBRATED
    assert len(written["windows"][0]) == COMPARED
    export(tiny.checkpoint, onnx=tmp_path / "a.onnx", settings=OnnxSettings("int8"), seen=Seen(tiny.choice))
    assert written["calibration"] is None
    with pytest.raises(UserError, match="static quantisation is calibrated on real windows"):
        export(tiny.checkpoint, onnx=tmp_path / "a.onnx", settings=OnnxSettings("int8", static=True))


def test_an_onnx_file_is_read_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="weights: an ONNX file is read as it is"):
        open_model(ModelFile(tmp_path / "a.onnx", LoadSettings(weights="raw")), None, SILENT)


@pytest.mark.slow
def test_the_file_detects_and_evaluates_like_the_checkpoint(tiny, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    result = export(tiny.checkpoint, onnx=path, seen=Seen(tiny.choice))
    assert result.onnx is not None and result.onnx["difference"]["scores"] < 1e-5
    ours, theirs = (detect(file, [tiny.video()], device="cpu").detections["testing_0000"] for file in (tiny.checkpoint, path))
    assert theirs.scores == pytest.approx(ours.scores, abs=1e-4)
    assert theirs.segments == pytest.approx(ours.segments, abs=0.011)
    ours, theirs = (evaluate(file, tiny.choice, device="cpu").result for file in (tiny.checkpoint, path))
    assert theirs.average == pytest.approx(ours.average, abs=0.5)


def test_files_do_not_replace_each_other(tiny, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(tiny.checkpoint.read_bytes())
    for files in ({"plain": path}, {"opentad": path}, {"plain": tmp_path / "b.pth", "opentad": tmp_path / "x/../b.pth"}):
        with pytest.raises(UserError, match="this would replace a file"):
            export(path, **files)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == tiny.checkpoint.read_bytes()


def test_an_onnx_file_has_its_suffix(tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.bin: .* Give a name that ends in \.onnx"):
        export(tiny.checkpoint, onnx=tmp_path / "a.bin")
