"""The documentation, tested against the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from tadshrink.cli.app import START, app
from tadshrink.data.datasets import read_dataset_config
from tadshrink.models.detector import check_sizes
from tadshrink.models.presets import architecture
from tadshrink.recognition.data_config import parse_recognition_config
from tadshrink.run_settings import read_recipe, run_settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def shown_commands() -> list[str]:
    lines = [part.strip() for block in code_blocks("bash") for line in block.splitlines() for part in line.split("&&")]
    lines += re.findall(r"^\| `(tadshrink [^`]*)`", README, re.M)
    lines += [command.epilog.removeprefix("Example: ") for command in COMMANDS.commands.values() if command.epilog]
    lines += [line.strip() for line in START.splitlines() if line.startswith("  ")]
    return [line for line in lines if line.startswith("tadshrink ")]


@pytest.mark.parametrize("line", shown_commands())
def test_every_command_shown_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.replace("[CKPT]", "CKPT").replace("VIDEO...", "VIDEO"))[1:]
    command = COMMANDS
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert command is not COMMANDS
    assert {word for word in words if word.startswith("-")} <= known


def test_the_readme_lists_every_command() -> None:
    listed = {line.split()[1] for line in re.findall(r"^\| `(tadshrink [^`]*)`", README, re.M)}
    assert listed == set(COMMANDS.commands)


def test_the_checkpoint_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tadshrink.checkpoint.io import load_checkpoint

    example = next(block for block in code_blocks("python") if "save_checkpoint" in block).replace("videomae-s", "videomae-nano")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert load_checkpoint(tmp_path / "base.pth").classes == ["jump", "throw"]


@pytest.mark.parametrize("path", sorted((ROOT / "sample_configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_sample_config_is_valid(path: Path) -> None:
    if path.stem.endswith("_model"):
        check_sizes(architecture(str(path), ["a"]))
    elif path.stem.endswith("_recognition"):
        assert parse_recognition_config(path.read_text(), path).clips
    elif "-videomae-" in path.stem:
        assert run_settings(read_recipe(path), path)
    else:
        assert read_dataset_config(path)[0].classes


def test_links_and_pictures_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
