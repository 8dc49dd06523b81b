"""What each of two processes does that :func:`tests.torchrun.by_two` forks; the names in capitals are given."""

import os
import runpy
import sys

import torch

# ruff: noqa: F821
os.environ.update(ENVIRONMENT)
sys.argv = ["tadshrink", *ARGUMENTS]
for path, stream in zip(OUTPUTS, (sys.stdout, sys.stderr), strict=True):
    stream.flush()
    os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), stream.fileno())
torch.set_num_threads(1)
if PROGRAM is None:
    runpy.run_module("tadshrink", run_name="__main__")
else:
    runpy.run_path(PROGRAM, run_name="__main__")
