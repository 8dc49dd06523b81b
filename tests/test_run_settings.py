from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.errors import UserError
from tadshrink.run_settings import RunSettings, read_recipe, run_settings


def recipe(folder: Path, text: str) -> Path:
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


def test_sections_and_what_is_given_beside_them(tmp_path: Path) -> None:
    path = recipe(tmp_path, "run: {target: '3', unit: mlp}\nselect: {metric: loss, race: true}\nalign:\n")
    settings = run_settings(read_recipe(path), path, {"run": {"target": "2"}, "align": {"epochs": 7, "lora_targets": "qkv, fc1"}})
    assert (settings.target, settings.unit, settings.schedule) == ("2", "mlp", "progressive")
    assert (settings.select.metric, settings.select.race, settings.select.batch_size) == ("loss", True, 8)
    assert (settings.align.epochs, settings.align.lora_targets) == (7, ("qkv", "fc1"))
    assert run_settings({}) == RunSettings()
    assert run_settings(read_recipe(recipe(tmp_path, "run:\n"))) == RunSettings()


def test_everything_that_is_wrong_is_told_together(tmp_path: Path) -> None:
    path = recipe(tmp_path, "colour: red\nrun: {tolerence: 1}\nselect: {metric: f1}\nalign: {epochs: -1, rank: 0, speed: 2}\n")
    with pytest.raises(UserError) as error:
        run_settings(read_recipe(path), path, {"align": {"rank": -3}, "run": {"tolerance": -1.0}, "select": {"batch_size": 0}})
    said = str(error.value)
    places = ("colour: not one of the sections run, select, align", "run.tolerence: Extra", "select.metric: Input", "align.epochs: Input",
              "--rank: Input", "align.speed: Extra", "--tolerance: ", "--select-batch-size: ")
    for place in places:
        assert place in said
    assert said.startswith(str(path)) and "\n" not in said


@pytest.mark.parametrize(("text", "problem"), [
    ("run: [1, 2", "not valid YAML"), ("- run", "not a recipe"), ("", "not a recipe"), ("run: 3", "run: not one of the sections"),
    ("train: {epochs: 1}\ncolour: red", "train: not one of the sections.*; colour: not one of the sections"),
])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        run_settings(read_recipe(recipe(tmp_path, text)))


def test_sections_are_not_keys_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="select: a section of its own"):
        run_settings({"run": {"select": {"metric": "map"}}})


def test_a_race_needs_a_metric_that_can_be_raced() -> None:
    with pytest.raises(UserError, match="select: there is nothing to race for: cosine takes one pass"):
        run_settings({"select": {"race": True, "metric": "cosine"}})


def test_without_healing() -> None:
    assert RunSettings().align.heals
    assert not run_settings({"align": {"heal": "none"}}).align.heals
