"""Two processes, as torchrun starts them."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import NamedTemporaryFile

#: What the server of :func:`by_two` has imported, so that no process of two has to; the command line asks at its import which one it is.
PRELOADED = ["torch", "torch._dynamo", "peft", "tadshrink.stages.align"]
_PROGRAM = Path(__file__).with_name("rank.py")


def by_torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the tool with arguments, twice at once, with one thread each."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tadshrink", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})


def by_two(*arguments: object, program: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The same (or a program) without the seconds in which three processes import torch: two that are forked from one which has it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1]), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    with NamedTemporaryFile("r") as out, NamedTemporaryFile("r") as err:
        given = {"ARGUMENTS": [*map(str, arguments)], "PROGRAM": None if program is None else str(program), "OUTPUTS": (out.name, err.name)}
        ranks = [context.Process(target=runpy.run_path, args=(str(_PROGRAM), given | {"ENVIRONMENT": environment | {
            "RANK": str(rank), "LOCAL_RANK": str(rank)}}, "__main__")) for rank in range(2)]
        for rank in ranks:
            rank.start()
        while running := [rank.sentinel for rank in ranks if rank.is_alive()]:
            wait(running)
            if any(rank.exitcode for rank in ranks):  # The other one would wait for it.
                for rank in ranks:
                    rank.terminate()
        return subprocess.CompletedProcess(given["ARGUMENTS"], max(abs(rank.exitcode or 0) for rank in ranks), out.read(), err.read())
