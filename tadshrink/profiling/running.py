"""How a detector is run to be measured: device, dtype, threads, eager or compiled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tadshrink.compiling import compile_network
from tadshrink.device import Compute, choose_compute, with_dtype
from tadshrink.errors import UserError, check_known
from tadshrink.models.config import BackboneConfig, DetectorConfig
from tadshrink.models.detector import Detector
from tadshrink.profiling.latency import Run
from tadshrink.profiling.windows import example_window
from tadshrink.reporting import Reporter

#: Timed calls, and how long warming up and timing may take (s), where nothing else was asked for.
RUNS, SECONDS = 20, 60.0
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Measure:
    """How to measure.

    Attributes:
        runs: timed calls; None for 20, or as many as fit into a minute.
        warmup: calls before them that do not count.
        device, dtype: None and "auto" choose as the other commands do.
        threads: that torch computes with on a CPU; None takes as many as the other commands do.
        compiled: by ``torch.compile``; eagerly where that fails, which is told.
        batch: windows at a time.
    """

    runs: int | None = None
    warmup: int = 3
    device: str | None = None
    dtype: str = "auto"
    threads: int | None = None
    compiled: bool = False
    batch: int = 1

    def __post_init__(self) -> None:
        if self.turns < 1 or self.warmup < 0:
            raise UserError(f"{self.turns} runs after {self.warmup} to warm up measure nothing", fix="Choose at least 1 run")
        check_known("dtype", self.dtype, DTYPES)
        if self.batch < 1 or (self.threads is not None and self.threads < 1):
            raise UserError(f"a batch of {self.batch} on {self.threads} threads cannot be run", fix="Choose at least 1")

    @property
    def turns(self) -> int:
        """Timed calls that are wanted."""
        return RUNS if self.runs is None else self.runs

    @property
    def limit(self) -> float:
        """Seconds that warming up and timing may take."""
        return SECONDS if self.runs is None else math.inf

    def told(self, done: int, reporter: Reporter) -> None:
        """Say so where fewer calls were timed than wanted."""
        if done < self.turns:
            reporter.note(f"{done} timed instead of {self.turns}: no more fit into {SECONDS:.0f} s (--runs {self.turns} for all)")


#: 20 runs, or what a minute allows, as the other commands would run the detector.
AS_USUAL = Measure()


@dataclass(frozen=True)
class Ready:
    """A network that is ready to be measured: ``run()`` is one call on ``inputs``; ``bytes`` are those of weights and inputs."""

    run: Run
    inputs: Tensor
    compiled: bool
    bytes: int


@contextmanager
def computing(measure: Measure, width: int, reporter: Reporter) -> Iterator[Compute]:
    """The device and the dtype, and within it the number of threads; afterwards that is what it was.

    Args:
        width: of the matrices in which most of the time goes.

    Raises:
        UserError: there is no such device.
    """
    before = torch.get_num_threads()
    try:
        compute = with_dtype(choose_compute(measure.device, width), measure.dtype)
        reporter.note(compute.reason)
        if measure.threads is not None:
            torch.set_num_threads(measure.threads)
            reporter.note(f"threads: {measure.threads}, as asked for")
        yield compute
    finally:
        torch.set_num_threads(before)


@contextmanager
def ready(detector: Detector, measure: Measure, compute: Compute, reporter: Reporter) -> Iterator[Ready]:
    """``detector`` in eval mode on the device, with a window of noise, and called once; afterwards it is as it was.

    Raises:
        UserError: there is not enough memory.
    """
    inputs, masks = (tensor.to(compute.device) for tensor in example_window(detector.config, measure.batch))
    with _placed(detector, compute.device), ExitStack() as stack:

        def call(network: nn.Module) -> object:
            # As the other commands do for each batch.
            with torch.inference_mode(), compute.autocast():
                return network(inputs, masks)

        network: nn.Module = detector
        if measure.compiled:
            stack.callback(torch.compiler.reset)
            network = compile_network(detector, call, reporter)
        with enough_memory(_windows(detector.config, measure.batch), "Measure a smaller one, or count only: --no-time"):
            call(network)
            if compute.device.type == "cuda":
                torch.cuda.synchronize(compute.device)
        size = sum(tensor.nbytes for tensor in (inputs, masks, *detector.parameters(), *detector.buffers()))
        yield Ready(lambda: call(network), inputs, network is not detector, size)


def _windows(config: DetectorConfig, batch: int) -> str:
    """What is run at once, in words."""
    sampling = config.sampling
    frames = f", {sampling.frames} frames of {sampling.frame_size} pixels" if isinstance(config.backbone, BackboneConfig) else ""
    return f"{batch} window{'s' * (batch > 1)} of {sampling.window} cells{frames}"


@contextmanager
def enough_memory(what: str, fix: str) -> Iterator[None]:
    """Turns running out of memory for ``what`` into a :class:`UserError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise UserError(f"not enough memory for {what}", fix=fix) from error


@contextmanager
def _placed(detector: Detector, device: torch.device) -> Iterator[None]:
    """``detector`` on ``device`` and in eval mode; afterwards back where it was, each part in its former mode."""
    home = next(detector.parameters()).device
    modes = [(module, module.training) for module in detector.modules()]
    try:
        detector.to(device).eval()
        yield
    finally:
        detector.to(home)
        for module, training in modes:
            module.training = training
