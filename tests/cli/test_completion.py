from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tadshrink.checkpoint.io import load_checkpoint, save_checkpoint
from tadshrink.cli import completion
from tadshrink.data.names import builtin_names
from tadshrink.stages.drop import drop

#: The command as its script starts it; afterwards nothing heavy may have been imported.
SCRIPT = """
import sys
sys.argv = ["tadshrink", *sys.argv[1:]]
from tadshrink.cli.app import main
try:
    main()
finally:
    assert not {"torch", "numpy", "av"} & set(sys.modules)
"""


def start(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in (str(Path(completion.__file__).parents[2]), os.environ.get("PYTHONPATH")) if path)
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False, cwd=cwd,
                          env=os.environ | {"PYTHONPATH": paths} | environment)


def offered(line: str, cwd: Path) -> list[str]:
    """What bash gets to offer for the last word of a line."""
    words = line.split(" ")
    done = start(cwd=cwd, COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), _TADSHRINK_COMPLETE="complete_bash")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all kinds; the detector lacks block 1 and the MLP of block 2."""
    folder = tmp_path_factory.mktemp("completion")
    drop(tiny.checkpoint, folder / "model.pth", blocks=[1, "2.mlp"])
    (folder / "runs" / "final").mkdir(parents=True)
    for name in ("my.yaml", "old.pt", "notes.txt", "epoch_034.pth.tar", "model.onnx", ".hidden.pth", "runs/final/model.pth", "synth.yml"):
        (folder / name).touch()
    (folder / "damaged.pth").write_bytes((folder / "model.pth").read_bytes()[:5000])
    return folder


@pytest.mark.parametrize(("line", "words"), [
    ("tadshrink dro", ["drop"]),
    ("tadshrink select ", ["damaged.pth", "epoch_034.pth.tar", "model.pth", "old.pt", "runs/"]),
    ("tadshrink detect mo", ["model.onnx", "model.pth"]),
    ("tadshrink merge r", ["runs/final/model.pth"]),
    ("tadshrink run model.pth --dataset s", ["synthetic", "synth.yml"]),
    ("tadshrink sfc base --dataset synthetic", ["synthetic-clips"]),
    ("tadshrink drop model.pth --blocks ", ["0", "2", "3"]),
    ("tadshrink drop -o out.pth model.pth --blocks 3,", ["3,0", "3,2"]),
    ("tadshrink profile model.pth --drop 0,2.", ["0,2.attention"]),
    ("tadshrink drop gone.pth --blocks ", []),
    ("tadshrink align --heal ", ["lora", "full", "none"]),
])
def test_bash(folder: Path, line: str, words: list[str]) -> None:
    assert offered(line, folder) == words


def test_the_script_for_bash_is_shown_and_installed(tmp_path: Path) -> None:
    plain = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = start("--show-completion", "bash", cwd=tmp_path, **plain)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "_TADSHRINK_COMPLETE=complete_bash" in shown.stdout
    installed = start("--install-completion", "bash", cwd=tmp_path, **plain)
    assert installed.returncode == 0, installed.stderr
    assert "_TADSHRINK_COMPLETE" in (tmp_path / ".bash_completions" / "tadshrink.sh").read_text()


class Line:
    """What typer knows of a line."""

    def __init__(self, *words: Path) -> None:
        self.params, self.args = {}, [str(word) for word in words]


def test_blocks_of_other_files(tiny, tmp_path: Path) -> None:
    model = load_checkpoint(tiny.checkpoint)
    old, stem, bare = (tmp_path / f"{name}.pth" for name in ("old", "stem", "bare"))
    torch.save(model.state, old, _use_new_zipfile_serialization=False)
    torch.save({f"projection.stem.{number}.attn.weight": torch.ones(1) for number in (10, 2)}, stem)
    torch.save({"weight": torch.ones(1)}, bare)
    save_checkpoint(tmp_path / "new.pth", model)
    found = {path.stem: completion.blocks(Line(path), "") for path in (old, stem, bare, tmp_path / "new.pth")}
    assert found == {"old": ["0", "1", "2", "3"], "stem": ["2", "10"], "bare": [], "new": ["0", "1", "2", "3"]}
    bad = tmp_path / "bad.pth"
    bad.write_bytes((tmp_path / "new.pth").read_bytes().replace(b"PK\x03\x04", b"PK\x03\x05"))
    assert completion.blocks(Line(bad), "") == []
    assert completion.blocks(Line(), "") == completion.blocks(Line(tmp_path), "") == []


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ONE.PTH").touch()
    (tmp_path / ".b.pth").touch()
    assert completion.checkpoints(f"{tmp_path}/") == [f"{tmp_path}/a/ONE.PTH"]
    assert completion.checkpoints("~/a/O") == ["~/a/ONE.PTH"]
    assert completion.checkpoints(f"{tmp_path}/.") == [f"{tmp_path}/.b.pth"]
    assert completion.checkpoints(f"{tmp_path}/none/x") == []
    (tmp_path / "a" / "ONE.PTH").unlink()
    assert completion.checkpoints(f"{tmp_path}/") == [f"{tmp_path}/a/"]
    assert set(builtin_names()) <= set(completion.datasets(""))
