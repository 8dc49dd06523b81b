"""The documentation, tested against the code."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer

import tadshrink
from tadshrink.cli.app import START, app
from tadshrink.data.datasets import read_dataset_config
from tadshrink.models.detector import check_sizes
from tadshrink.models.presets import architecture
from tadshrink.recognition.data_config import parse_recognition_config
from tadshrink.run_settings import read_recipe, run_settings
from tests.cli_reference import PATH, WRITE, commands, reference

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def block_lines() -> list[str]:
    """The commands of all blocks, from top to bottom."""
    return [part.strip() for block in code_blocks("bash") for line in block.splitlines() for part in line.split("&&")]


def shown_commands() -> list[str]:
    """In blocks, in tables and in the text, in examples of the help, and in what is shown without a command."""
    lines = [re.sub(r"^torchrun .*-m (?=tadshrink )", "", line) for line in block_lines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`(tadshrink [^`]*)`", re.sub(r"```.*?```", "", README, flags=re.S))]
    lines += [command.epilog.removeprefix("Example: ") for _, command in commands("tadshrink", COMMANDS) if command.epilog]
    lines += [line.strip() for line in START.splitlines() if line.startswith("  ")]
    return list(dict.fromkeys(line for line in lines if line.startswith("tadshrink ")))


#: Other lines that blocks of the README may hold.
OTHERS = ("pip install ", "tadshrink ", "torchrun ")


def test_no_line_of_a_block_is_left_out() -> None:
    assert all(line.startswith(OTHERS) or line == "pytest" for line in block_lines())


@pytest.mark.parametrize(("module", "options"), re.findall(r"python\s+-m\s+(tests[\w.]+)([^`]*)`", README))
def test_every_script_shown_is_there_with_its_options(module: str, options: str) -> None:
    text = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert all(f'"{word}"' in text for word in options.split() if word.startswith("--"))


@pytest.mark.parametrize("line", shown_commands())
def test_every_command_shown_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.replace("[CKPT]", "CKPT").replace("VIDEO...", "VIDEO"))[1:]
    command = COMMANDS
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert command is not COMMANDS or words[0].startswith("--")
    folders = ("sample_configs/", "tadshrink/assets/")
    assert all((ROOT / word).exists() for word in words if word.startswith(folders))
    assert {word for word in words if word.startswith("-")} <= known | {"--help"}


def test_the_readme_lists_every_command() -> None:
    listed = {line.split()[1] for line in re.findall(r"^\| `(tadshrink [^`]*)`", README, re.M)}
    assert listed == set(COMMANDS.commands)


def test_the_reference_is_up_to_date() -> None:
    if PATH.read_text(encoding="utf-8") != reference():
        pytest.fail(f"the commands have changed; write {PATH.name} again: {WRITE}", pytrace=False)


def test_the_reference_has_every_option() -> None:
    text = PATH.read_text(encoding="utf-8")
    for name, command in commands("tadshrink", COMMANDS):
        section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        missing = [option for item in command.params for option in item.opts if option.startswith("--") and f"`{option}" not in section]
        assert set(missing) <= {"--help"}, name


def test_the_run_example_calls_what_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tadshrink import pipeline

    called: list[inspect.BoundArguments] = []

    def run(*arguments: object) -> pipeline.RunResult:
        called.append(inspect.signature(real).bind(*arguments))
        return pipeline.RunResult({"final": {"test": {"average_map": 89.5}}})

    real = pipeline.run
    monkeypatch.setattr(pipeline, "run", run)
    exec(next(block for block in code_blocks("python") if "pipeline import run" in block), {})
    assert called[0].arguments["settings"].target == "2"
    assert capsys.readouterr().out == "89.5\n"


def test_the_load_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tadshrink.checkpoint.foreign.presets import PRESETS
    from tadshrink.models.detector import Detector

    config = architecture("videomae-nano", ["a", "b"])
    sampling, asked = config.sampling, list[str]()
    monkeypatch.setattr(tadshrink, "load", lambda path, preset: asked.append(preset) or Detector(config).eval())
    example = next(block for block in code_blocks("python") if "tadshrink.load" in block)
    example = example.replace("768, 160, 160", ", ".join(map(str, (sampling.frames, sampling.frame_size, sampling.frame_size))))
    example = example.replace("768", str(sampling.window))
    exec(example, {})
    assert asked[0] in PRESETS
    assert capsys.readouterr().out.count("torch.Size") == 3


def test_the_checkpoint_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tadshrink.checkpoint.io import load_checkpoint

    example = next(block for block in code_blocks("python") if "save_checkpoint" in block).replace("videomae-s", "videomae-nano")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert load_checkpoint(tmp_path / "base.pth").classes == ["jump", "throw"]


def test_all_presets_of_foreign_checkpoints_are_named() -> None:
    from tadshrink.checkpoint.foreign.presets import PRESETS

    paragraph = README.split("Presets are those of the released models:")[1].split("\n\n")[0]
    named = set()
    for name, sizes in re.findall(r"`([a-z0-9-]{8,})`(?: \(([^)]*)\))?", paragraph):
        named |= {name, *(f"{name[:-1]}{size}" for size in re.findall(r"`(.)`", sizes))}
    assert named == set(PRESETS)


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
