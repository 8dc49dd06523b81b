"""Whatever is wrong with what a user gives: exit code 2, one line that says what and where, and nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tadshrink.stages.drop import drop
from tests.runs import SAME

pytestmark = pytest.mark.usefixtures("counted_once")
BASE = ("{base}", "--dataset", "{data}")
OUT = ("-o", "{out}/new.pth")
RUN = ("run", *BASE, "--work-dir", "{out}/work")
ALIGN = ("align", "{dropped}", "--teacher", "{base}", "--dataset", "{data}", *OUT)

#: Arguments ({names} are filled in) and what the error must say.
CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "checkpoint missing": (("eval", "{in}/none.pth", "--dataset", "{data}"), "none.pth: no such file"),
    "checkpoint is a text": (("profile", "{in}/text.pth"), "text.pth: not a torch file"),
    "checkpoint is a folder": (("profile", "{in}"), "cannot be read"),
    "checkpoint is empty": (("drop", "{in}/empty.pth", "--blocks", "1", *OUT), "empty.pth: empty file"),
    "checkpoint is cut": (("select", "{in}/cut.pth", "--dataset", "{data}", *OUT), "cut.pth: damaged"),
    "dataset unknown": (("eval", "{base}", "--dataset", "thumos15"), "thumos15: no such dataset. Give a built-in name (activitynet-1.3, "),
    "dataset not made": (("eval", "{base}", "--dataset", "synthetic", "--root", "{in}"), "no annotation file here. Run: tadshrink data make"),
    "dataset is no YAML": (("eval", "{base}", "--dataset", "{in}/broken.yaml"), "broken.yaml: not valid YAML"),
    "dataset has two errors": (("eval", "{base}", "--dataset", "{in}/wrong.yaml"), "window: Input should be greater than 0; colour: Extra"),
    "dataset of other classes": (("eval", "{base}", "--dataset", "{in}/classes.yaml"), "the dataset's classes (a, b) are not the model's"),
    "annotations broken": (("eval", "{base}", "--dataset", "{in}/annotations.yaml"), "'segment' is not [start, end]"),
    "split": (("eval", *BASE, "--split", "test1"), "split 'test1' has no videos"),
    "device": (("eval", *BASE, "--device", "abacus"), "device 'abacus' cannot be used"),
    "metric": (("select", *BASE, "--metric", "f1", *OUT), "bad settings: --metric: Input should be 'map', 'loss', "),
    "metrics to compare": (("select", *BASE, "--compare", "map,f1", *OUT), "bad settings: --compare"),
    "race for nothing": (("select", *BASE, "--metric", "cosine", "--race", *OUT), "there is nothing to race for: cosine takes one pass"),
    "span of all": (("select", *BASE, "--span", "4", *OUT), "a span of 4 leaves none of the 4 blocks"),
    "half unknown": (("drop", "{base}", "--blocks", "9.mlp", *OUT), "no block 9.mlp. The remaining blocks are 0, 1, 2, 3"),
    "half and block": (("drop", "{base}", "--blocks", "1,1.mlp", *OUT), "name each block once"),
    "recipe": ((*RUN, "--recipe", "{in}/recipe.yaml", "--tolerance", "-1"),
               "recipe.yaml: bad settings: --tolerance: Input should be greater than or equal to 0; select.speed: Extra inputs are not "
               "permitted; align.lr: Input should be greater than 0; align.depth: Extra inputs are not permitted; run.colour: Extra"),
    "recipe's sections": ((*RUN, "--recipe", "{in}/wrong.yaml"), "wrong.yaml: bad settings: "),
    "block unknown": (("drop", "{base}", "--blocks", "1,99", *OUT), "no block 99. The remaining blocks are 0, 1, 2, 3"),
    "blocks no numbers": (("drop", "{base}", "--blocks", "a", *OUT), "'a' is neither a block nor half of one. For example: --blocks 3,7"),
    "blocks all": (("drop", "{base}", "--blocks", "0,1,2,3", *OUT), "leaves none"),
    "blocks and count": (("drop", "{base}", "--blocks", "1", "--count", "1", *OUT),
                         "--blocks, --count and --span exclude each other. Leave out --count"),
    "ranking missing": (("drop", "{base}", *OUT), "holds no ranking. Run tadshrink select first"),
    "output is a folder": (("drop", "{base}", "--blocks", "1", "-o", "{out}"), "cannot write here"),
    "output below a file": (("select", *BASE, "-o", "{in}/text.pth/a.pth"), "cannot write here"),
    "arch": (("train", "--dataset", "{data}", "--arch", "resnet", *OUT), "unknown architecture 'resnet'"),
    "train rate": (("train", "--dataset", "{data}", "--lr", "0", *OUT), "bad settings: --lr: Input should be greater than 0"),
    "align rate and distillation": ((*ALIGN, "--lr", "-1", "--cls-kd", "cosine"), "bad settings: --lr: "),
    "align without teacher": (("align", "{dropped}", "--dataset", "{data}", *OUT), "Missing option '--teacher'"),
    "teacher lost half a block": (("align", "{base}", "--teacher", "{in}/half.pth", "--dataset", "{data}", *OUT),
                                  "the teacher lacks block 3.mlp of"),
    "teacher not merged": (("align", "{dropped}", "--teacher", "{aligned}", "--dataset", "{data}", *OUT), "its LoRA is not merged yet"),
    "nothing to compare": ((*ALIGN, "--feature-weight", "0", "--cls-kd-weight", "0", "--reg-kd-weight", "0", "--task-weight", "0"),
                           "all losses have the weight 0"),
    "rank of a run": ((*RUN, "--rank", "99"), "LoRA of rank 99 for layers that are 16 wide"),
    "more than can go": ((*RUN, "--target", "60%"), "60% of the MACs cannot be removed: without all but one of the blocks it is "),
    "race for all": (("select", *BASE, "--race", "--top", "4", *OUT), "a race for the best 4 of 4 stops none"),
    "recipe of numbers": ((*RUN, "--recipe", "{in}/numbers.yaml"), "numbers.yaml: bad settings: run.1: "),
    "split for figures": (("select", *BASE, "--split", "testing", *OUT), "split 'testing' is what models are judged on"),
    "teacher lost a block": (("align", "{base}", "--teacher", "{dropped}", "--dataset", "{data}", *OUT), "the teacher lacks block"),
    "align twice": (("align", "{aligned}", "--teacher", "{base}", "--dataset", "{data}", *OUT), "its LoRA is not merged yet"),
    "merge nothing": (("merge", "{base}", *OUT), "there is no LoRA to merge"),
    "merge with a root alone": (("merge", "{aligned}", "--root", "{in}", *OUT), "--root means nothing without --dataset"),
    "merge tolerance": (("merge", "{aligned}", "--tolerance", "-1", *OUT), "above the tolerance -1: nothing was written"),
    "target": ((*RUN, "--target", "a quarter"), "--target 'a quarter' is not understood"),
    "target too high": ((*RUN, "--target", "4"), "cannot drop 4 of 4 blocks"),
    "run metric": ((*RUN, "--metric", "f1"), "bad settings: --metric: "),
    "run heal": ((*RUN, "--heal", "magic"), "bad settings: --heal: Input should be 'lora', 'full' or 'none'"),
    "run tolerance": ((*RUN, "--tolerance", "nan"), "--tolerance"),
    "run rate": ((*RUN, "--lr", "0"), "bad settings: --lr"),
    "run unmerged": (("run", "{aligned}", "--dataset", "{data}", "--work-dir", "{out}/work"), "its LoRA is not merged yet"),
    "run in a file": (("run", *BASE, "--target", "1", "--work-dir", "{in}/text.pth"), "cannot be used as a work dir"),
    "run in a full folder": (("run", *BASE, "--target", "1", "--work-dir", "{in}"), "the folder is not empty and holds no run"),
    "run without a checkpoint": (("run", "--dataset", "{data}"), "no baseline comes with the package"),
    "video missing": (("detect", "{base}", "{in}/none.mp4", "-o", "{out}/a.json"), "none.mp4: no such video"),
    "picture": (("detect", "{base}", "{video}", "--plot", "{out}/a.xyz"), "pictures cannot be written as .xyz"),
    "picture in a file": (("detect", "{base}", "{video}", "--plot", "{in}/text.pth/a.png"), "cannot write here"),
    "twice the same name": (("detect", "{base}", "{video}", "{in}/testing_0000.mp4"), "two videos are named 'testing_0000'"),
    "data in a file": (("data", "make", "synthetic", "--root", "{in}/text.pth"), "cannot write here"),
    "data": (("data", "make", "thumos14", "--root", "{out}"), "cannot make 'thumos14'"),
}


@pytest.fixture(scope="module")
def bad(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files with something wrong."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.pth").write_text("not a checkpoint")
    (folder / "empty.pth").touch()
    (folder / "cut.pth").write_bytes(tiny.checkpoint.read_bytes()[:5000])
    (folder / "recipe.yaml").write_text("run: {colour: red}\nselect: {metric: map, speed: 3}\nalign: {epochs: 1, lr: -1, depth: 2}\n")
    (folder / "numbers.yaml").write_text("run: {1: 2}\n")
    drop(tiny.checkpoint, folder / "half.pth", ["3.mlp"])
    (folder / "broken.yaml").write_text("a: [1, 2\nb: }")
    shutil.copy(tiny.video(), folder)
    good = yaml.safe_load(tiny.yaml.read_text()) | {"root": str(tiny.folder)}
    annotations = json.loads((tiny.folder / "annotations.json").read_text())
    next(entry for entry in annotations["database"].values() if entry["annotations"])["annotations"][0]["segment"] = [1]
    (folder / "broken.json").write_text(json.dumps(annotations))
    changes = {"wrong": {"window": 0, "colour": "red"}, "classes": {"classes": ["a", "b"], "ignored_labels": good["classes"]},
               "annotations": {"annotations": str(folder / "broken.json")}}
    for name, change in changes.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(good | change))
    return folder


def everything(*folders: Path) -> dict[str, tuple[int, int]]:
    return {str(item): (item.stat().st_size, item.stat().st_mtime_ns) for folder in folders for item in folder.rglob("*")}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_code_2_and_nothing_written(tiny, chain, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     tadshrink: Callable[..., Any], case: str) -> None:
    arguments, problem = CASES[case]
    monkeypatch.chdir(tmp_path)
    places = {"in": bad, "out": tmp_path, "base": tiny.checkpoint, "data": tiny.yaml, "dropped": chain.dropped, "aligned": chain.aligned,
              "video": tiny.video()}
    before = everything(bad, tmp_path, tiny.folder)
    outcome = tadshrink(*(argument.format(**places) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.errors) == 1
    assert problem in outcome.errors[0]
    # The line stands last; before it there may be notes, such as which device was chosen.
    assert outcome.err.splitlines()[-1] == outcome.errors[0]
    assert "Traceback" not in outcome.err
    assert everything(bad, tmp_path, tiny.folder) == before


def test_a_broken_video_does_not_stop_the_good_ones(tiny, tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(tiny.video().read_bytes()[:2000])
    outcome = tadshrink("detect", tiny.checkpoint, tiny.video(), broken, tiny.video("testing_0001"), "--score-threshold", 0,
                        "-o", tmp_path / "a.json", "--plot", tmp_path / "a.png", "--json")
    assert outcome.code == 2
    assert [line.split(":")[1].strip() for line in outcome.errors] == [str(broken)]
    assert list(json.loads(outcome.out)["results"]) == ["testing_0000", "testing_0001"]
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads(outcome.out)
    assert (tmp_path / "a.png").exists()


def test_changed_settings_of_a_run(tiny, tiny_run: Path, tadshrink: Callable[..., Any]) -> None:
    before = everything(tiny_run)
    refused = tadshrink("run", tiny.checkpoint, "--dataset", tiny.yaml, *SAME, "--tolerance", 99, "--work-dir", tiny_run,
                        "--device", "cpu")
    assert refused.code == 2
    assert "settings.tolerance: 100" in refused.errors[0] and "-> 99" in refused.errors[0]
    assert "Give another --work-dir, or --fresh" in refused.errors[0]
    assert everything(tiny_run) == before


@pytest.mark.parametrize("teacher", ["previous", pytest.param("static", marks=pytest.mark.slow)])
def test_the_teacher_of_a_run_is_a_choice_and_no_file(tiny, tmp_path: Path, tadshrink: Callable[..., Any], teacher: str) -> None:
    outcome = tadshrink("run", tiny.checkpoint, "--dataset", tiny.yaml, "--teacher", teacher, "--target", 1, "--metric", "random",
                        "--epochs", 0, "--tolerance", 100, "--latency-runs", 1, "--work-dir", tmp_path / "w")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "w" / "run.json").read_text())["settings"]["align"]["teacher"] == teacher
