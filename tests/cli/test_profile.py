from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("counted_once")
PUBLISHED = {
    ("videomae-s",): "286.3", ("videomae-s", "--drop", "4"): "263.5", ("videomae-s", "--drop", "9,4,6"): "218.0",
    ("videomae-s", "--drop", "4,9,6,1"): "195.2", ("videomae-l",): "3886.9", ("videomae-l", "--drop", "1,2,3"): "3402.7",
    ("videomae-l", "--drop", "1,2,3,20,21,22"): "2918.6",
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "printed"), [
    (("videomae-s", "--drop", "4,9"), "240.8"), *(pytest.param(*item, marks=pytest.mark.slow) for item in PUBLISHED.items())])
def test_the_published_figures_and_what_they_leave_out(tadshrink: Callable[..., Any], arguments: tuple[str, ...], printed: str) -> None:
    outcome = tadshrink("profile", "--arch", *arguments, "--frames", 768, "--size", 160, "--no-time", "--convention", "paper", "--json")
    assert (outcome.code, outcome.errors) == (0, [])
    assert f"{json.loads(outcome.out)['macs']['total'] / 1e9:.1f}" == printed
    assert f" {printed} " in outcome.err
    assert "convention paper" in outcome.err.splitlines()[0]
    assert "two thirds of every block's linear work (both matrices of its MLP), the patch embedding, the products of attention" in outcome.err
    assert "linear in mlp" in outcome.err


def test_what_was_measured_is_in_the_table(tiny, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("profile", tiny.checkpoint, "--runs", 2, "--device", "cpu", "--batch", 2, "--fps", 25, "--threads", 1, "--vs",
                        tiny.checkpoint)
    assert outcome.code == 0
    for text in ("MACs of one window (16 cells, 32 frames of 32 pixels), convention full", "ms min over 2 runs on cpu, 1 thread, torch 2",
                 "eager, float32, input 2x1x3x32x32x32", "frames per second;", "(2.6 s a window, 25 frames per second as given)",
                 "peak memory", "of the runs in turn; ratio of their MACs: 1.000"):
        assert text in outcome.err


def test_a_sweep_with_its_picture(tiny, tmp_path: Path, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("profile", tiny.checkpoint, "--sweep", "batch=1,2", "--runs", 2, "--plot", tmp_path / "a.png", "--json")
    assert [row["value"] for row in json.loads(outcome.out)["rows"]] == [1, 2]
    assert "30 frames per second are assumed" in outcome.err
    assert (tmp_path / "a.png").is_file()


def test_depth_beside_width(tiny, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("profile", tiny.checkpoint, "--depth-vs-width", "--savings", "10", "--runs", 2, "--json")
    assert [one["kind"] for one in json.loads(outcome.out)["variants"]] == ["full", "depth", "width"]
    assert "no blocks 3" in outcome.err
    assert "1-2 heads, MLPs" in outcome.err


@pytest.mark.parametrize(("arguments", "message"), [
    ((), "nothing to profile. Give a checkpoint (CKPT), or an architecture"),
    (("{base}", "--arch", "videomae-s"), "a checkpoint and --arch exclude each other"),
    (("{base}", "--classes", "3"), "--classes means nothing without --arch"),
    (("{base}", "--no-time", "--runs", "3", "--vs", "{base}"), "--runs, --vs mean nothing with --no-time"),
    (("{base}", "--no-time", "--sweep", "batch"), "--no-time and --sweep exclude each other"),
    (("{base}", "--sweep", "batch", "--convention", "paper"), "--convention means nothing with --sweep"),
    (("{base}", "--plot", "a.png"), "--plot means nothing without --sweep"),
    (("{base}", "--savings", "25"), "--savings means nothing without --depth-vs-width"),
    (("{base}", "--depth-vs-width", "--savings", "a"), "--savings 'a' is no list of numbers"),
    (("{base}", "--depth-vs-width", "--plot", "a.png"), "--plot means nothing with --depth-vs-width"),
    (("{base}", "--convention", "thop"), "unknown convention 'thop'"),
    (("{base}", "--drop", "a"), "'a' is neither a block nor half of one"),
    (("{base}", "--drop", "9"), "block 9 cannot be dropped"),
    (("{base}", "--frames", "24"), "must be a multiple of chunk_frames"),
    (("{base}", "--dtype", "int4"), "unknown dtype 'int4'"),
    (("{base}", "--fps", "0"), "no frame rate"),
    (("{base}", "--sweep", "colour"), "nothing called 'colour' can be swept"),
    (("{base}", "--sweep", "batch=1,2", "--batch", "4"), "--batch means nothing with --sweep batch"),
    (("{base}", "--sweep", "dtype=float32", "--dtype", "bfloat16"), "--dtype means nothing with --sweep dtype"),
    (("{base}", "--sweep", "frames=64", "--frames", "128"), "--frames means nothing with --sweep frames"),
    (("{base}", "--sweep", "batch=1", "--fps", "-1"), "no frame rate"),
    (("{base}", "--vs", "{base}", "--fps", "-1"), "no frame rate"),
    (("{base}", "--no-time", "--device", "cpu"), "--device means nothing with --no-time"),
    (("--arch", "resnet"), "unknown architecture 'resnet'"),
    (("--arch", "videomae-s", "--set", "heads=2"), "there is no checkpoint to read so"),
])
def test_options_that_do_not_go_together_are_one_line(tiny, tadshrink: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
    outcome = tadshrink("profile", *(text.format(base=tiny.checkpoint) for text in arguments))
    assert (outcome.code, outcome.out, len(outcome.errors)) == (2, "", 1)
    assert message in outcome.errors[0]


def test_a_recogniser(tiny_clips: Any, tadshrink: Callable[..., Any]) -> None:
    outcome = tadshrink("profile", tiny_clips.checkpoints["vit"], "--runs", 2, "--threads", 1, "--dtype", "float32", "--device", "cpu",
                        "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert [way["name"] for way in result["ways"]] == ["10x3", "10x1", "1x1"]
    assert {(way["latency"]["runs"], way["latency"]["threads"], way["latency"]["dtype"]) for way in result["ways"]} == {(2, 1, "float32")}
    for text in ("MACs of one view (clips of 4 frames of 32 pixels), convention full", "timed in turn over 2 runs on cpu, 1 thread",
                 "with as many views at once as are fastest"):
        assert text in outcome.err
    counted = tadshrink("profile", tiny_clips.checkpoints["slow"], "--no-time", "--json")
    assert counted.code == 0
    assert [way["latency"] for way in json.loads(counted.out)["ways"]] == [None] * 3
    assert "ms: median" not in counted.err
