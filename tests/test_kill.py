"""A run that is killed at random moments, as by a power cut, ends in the same weights."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

KILLS = 10


def command(tiny, work: Path) -> list[str]:
    """More epochs than elsewhere, so that most of the time goes by in alignments, as in real runs."""
    return [sys.executable, "-m", "tadshrink", "run", str(tiny.checkpoint), "--dataset", str(tiny.yaml), "--target", "2", "--metric", "mse",
            "--tolerance", "100", "--epochs", "20", "--work-dir", str(work), "--json"]


def last_file(work: Path) -> tuple[int, str]:
    """When the run last wrote something, and what: it tells how far it has come."""
    found = [(0, "nothing")]
    for item in work.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if item.is_file():
                found.append((item.stat().st_mtime_ns, str(item.relative_to(work))))
    return max(found)


def killed(arguments: list[str], work: Path, after: float) -> bool:
    """Start the command, and send SIGKILL some seconds after it has written something; whether it was still running."""
    before = last_file(work)
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and last_file(work) == before:
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(after)
    child.kill()
    return child.wait() == -signal.SIGKILL


def result(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")
def test_killed_ten_times_it_ends_in_the_same_weights(tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    straight = result(command(tiny, tmp_path / "straight"))
    begin, end = ((tmp_path / "straight" / name).stat().st_mtime for name in ("run.json", "result.json"))
    seed = random.randrange(1 << 30)
    draw, moments, broken_dir = random.Random(seed), [], tmp_path / "broken"
    # Short enough that the run is still under way at the last of the kills.
    while len(moments) < KILLS and killed(command(tiny, broken_dir), broken_dir, after := draw.uniform(0, 1.2 * (end - begin) / KILLS)):
        moments.append(f"{after:.2f} s after its first write, last file {last_file(broken_dir)[1]}")
    broken = result(command(tiny, broken_dir))
    with capsys.disabled():
        print(f"\nuninterrupted: {end - begin:.1f} s, checksum {straight['checksum']}; seed of the moments {seed}")
        print("\n".join(f"kill {number}: {moment}" for number, moment in enumerate(moments, 1)))
        print(f"after {len(moments)} kills: checksum {broken['checksum']}")
    assert len(moments) == KILLS, "the run ended before the last kill"
    assert broken["checksum"] == straight["checksum"]
    assert Path(broken["output"]).read_bytes() == Path(straight["output"]).read_bytes()
