from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tadshrink.distributed import World, gather, local_device, only_first, start, stop, world
from tests.torchrun import by_two


def test_one_process_alone_needs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert world() == start(torch.device("cpu")) == World(0, 1)
    assert (gather("a"), only_first(lambda: 3)) == (["a"], 3)
    stop()
    assert not torch.distributed.is_initialized()
    assert local_device("cuda") == "cuda"


def test_the_environment_that_torchrun_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert world() == (3, 4)
    assert (local_device("cuda"), local_device("cpu"), local_device("cuda:0")) == ("cuda:1", "cpu", "cuda:0")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_have_each_item_once(size: int) -> None:
    items = list(range(7))
    shares = [World(rank, size).share(items) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, tadshrink.distributed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PROGRAM = """
import sys, torch
from tadshrink.distributed import gather, only_first, start, stop, world
from tadshrink.errors import UserError
start(torch.device("cpu")); start(torch.device("cpu"))
assert gather({"rank": world().rank}) == [{"rank": 0}, {"rank": 1}]
assert only_first(lambda: world().rank) == 0
try:
    only_first(lambda: (_ for _ in ()).throw(UserError("wrong", where="here", fix="Do that")))
except UserError as error:
    open(sys.argv[1] + str(world().rank), "w").write(str(error))
gather(None); stop(); stop()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no processes")
def test_two_processes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = by_two(tmp_path / "said", program=tmp_path / "program.py")
    assert done.returncode == 0, done.stderr
    assert {(tmp_path / f"said{rank}").read_text() for rank in (0, 1)} == {"here: wrong. Do that"}
