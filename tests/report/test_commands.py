from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from tadshrink.cli.app import app
from tadshrink.compress.select_settings import SelectOptions, SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.report.commands import FORMS, before_run, command_line, history_lines, run_line
from tadshrink.run_settings import RunSettings

DATA = {"dataset": "d.yaml", "root": None}
COMMANDS = typer.main.get_command(app)


def options_of(command: str) -> set[str]:
    group = COMMANDS
    for word in command.split():
        group = group.commands[word]
    return {option for parameter in group.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("command", FORMS)
def test_every_option_that_may_be_written_exists(command: str) -> None:
    form = FORMS[command]
    derived = {"init_checksum", "teacher", "early_epochs"}
    names = {form.names.get(name, name).replace("_", "-") for name in form.defaults() if name not in {*form.hidden, *derived}}
    missing = {f"--{name}" for name in names} - options_of(command)
    # Commands that know no dataset, or none with missing videos, never record them.
    assert missing <= {"--allow-missing", "--dataset", "--root"}


def test_only_what_differs_from_the_defaults_is_written() -> None:
    options = SelectOptions(metric="mse", race=True).model_dump(mode="json")
    line = command_line("select", {**DATA, "split": "heldout", **options}, "a.pth", "b.pth")
    assert line == "tadshrink select a.pth --dataset d.yaml --metric mse --race -o b.pth"
    align = AlignSettings(epochs=7, augment=False, lora_targets=("qkv", "fc1")).model_dump(mode="json")
    line = command_line("align", {**DATA, **align, "teacher": "f" * 64}, "a.pth", "b.pth", "base.pth")
    assert line == ("tadshrink align a.pth --teacher base.pth --dataset d.yaml --epochs 7 --no-augment --lora-targets qkv,fc1 -o b.pth")


def test_names_are_quoted_for_a_shell() -> None:
    line = command_line("select", {**DATA, "dataset": "my data; rm -rf *.yaml"}, "a b.pth", "c.pth")
    assert shlex.split(line) == ["tadshrink", "select", "a b.pth", "--dataset", "my data; rm -rf *.yaml", "-o", "c.pth"]


def test_what_cannot_be_given_is_told_behind_it() -> None:
    line = command_line("train", {**DATA, "arch": "videomae-nano", "epochs": 2, "ema": 0.9, "strange": 1}, None, "b.pth")
    assert line == "tadshrink train --dataset d.yaml --epochs 2 -o b.pth  # recorded as well: ema 0.9, strange 1"
    module = {"split": "block:1", "clips": 4, "ratio": 0.25, "pool": "topk", "topk": None, "width": None, "attention": "time"}
    line = command_line("sfc train", {**DATA, "sfc": module}, "a.pth", "b.pth")
    assert line == "tadshrink sfc train a.pth --dataset d.yaml --split-at block:1 --clips 4 --ratio 0.25 -o b.pth"


def test_a_run_is_one_line() -> None:
    select, align = SelectSettings(batch_size=4, seed=9), AlignSettings(teacher="previous", seed=9)
    settings = RunSettings(target="3", tolerance=0.5, select=select, align=align)
    plan = {**DATA, "root": "/data", "allow_missing": True, "settings": settings.model_dump(mode="json"), "device": "cuda:1 bfloat16"}
    assert run_line(plan, "base.pth", "again") == (
        "tadshrink run base.pth --dataset d.yaml --root /data --allow-missing --target 3 --device cuda:1 --tolerance 0.5 "
        "--select-batch-size 4 --seed 9 --teacher previous --work-dir again")
    assert {word for word in shlex.split(run_line(plan, "b", "w")) if word.startswith("--")} <= options_of("run")


def test_a_seed_that_only_a_recipe_can_give_and_a_folder_that_ends_like_a_number() -> None:
    settings = RunSettings(target="3", select=SelectSettings(seed=7), align=AlignSettings(lr=2.0))
    line = run_line({**DATA, "root": "/data/v1.0", "settings": settings.model_dump(mode="json")}, "b", "w")
    assert line == "tadshrink run b --dataset d.yaml --root /data/v1.0 --target 3 --lr 2 --work-dir w  # recorded as well: select.seed 7"


def entry(command: str, parent: str | None, **arguments: Any) -> dict[str, Any]:
    return {"command": command, "arguments": arguments, "parent": parent, "metrics": {}, "version": "0"}


def test_files_follow_from_each_other_and_the_teacher_is_found_by_its_weights() -> None:
    history = [entry("train", None, **DATA), entry("select", "a", **DATA), entry("drop", "a", blocks=None, count=1),
               entry("align", "b", teacher="a", **DATA), entry("prune", "c", target="10%"), entry("align", "d", teacher="c", **DATA),
               entry("align", "e", teacher="unknown", **DATA)]
    assert [line.split(" --dataset")[0] for line in history_lines(history)] == [
        "tadshrink train", "tadshrink select 1-train.pth", "tadshrink drop 2-select.pth -o 3-drop.pth",
        "tadshrink align 3-drop.pth --teacher 1-train.pth", "tadshrink prune 4-align.pth --target 10% -o 5-prune.pth",
        "tadshrink align 5-prune.pth --teacher 4-align.pth", "tadshrink align 6-align.pth --teacher BASE.pth"]


def test_entries_of_no_command_are_comments() -> None:
    history = [entry("import", None, layout="opentad", weights="ema", settings={}), entry("set", "a", heads=6), entry("drop", "b", blocks=[3])]
    assert history_lines(history, "their.pth") == [
        "# their.pth was read from a file of another code base: layout opentad, weights ema", "# their.pth was read with --set: heads 6",
        "tadshrink drop their.pth --blocks 3 -o 3-drop.pth"]


def test_what_made_the_baseline_ends_where_the_run_begins() -> None:
    history = [entry("train", None), entry("select", "x"), entry("drop", "x"), entry("select", "base"), entry("drop", "base")]
    assert before_run(history, "base") == history[:3]
    assert before_run(history[3:], "base") == before_run([entry("prune", "base"), entry("align", "x")], "base") == []
