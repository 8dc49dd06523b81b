"""Two processes, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def by_torchrun(*arguments: object, program: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program (default: the tool) with arguments, twice at once, with one thread each."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               *(["-m", "tadshrink"] if program is None else [str(program)]), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
