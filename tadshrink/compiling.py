"""Networks through ``torch.compile``, and what is done where it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.reporting import Reporter

#: Networks that are compiled side by side at most.
MANY = 64


def compile_network(network: nn.Module, call: Callable[[nn.Module], object], reporter: Reporter) -> nn.Module:
    """The compiled network; the network itself where compiling fails, which is told.

    Args:
        call: runs it once. Compiled is for inputs of these shapes; torch keeps the result on disk for the next process.
    """
    reporter.note("compiling by torch.compile, which can take minutes the first time")
    compiled = torch.compile(network, dynamic=False)
    try:
        # Several networks are compiled side by side: beyond a limit torch would run the rest eagerly without a word.
        with torch._dynamo.config.patch(recompile_limit=MANY):
            call(compiled)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Whatever a compiler raises: of C++, of Triton, of its own.
        first = next(iter(str(error).splitlines()), "")
        reporter.note(f"torch.compile failed ({type(error).__name__}: {first[:200]}): it runs eagerly")
        return network
    return compiled


class CompiledDetector:
    """A detector that is compiled when it sees its first window, and takes windows one by one, so that all have the same shape."""

    def __init__(self, detector: Detector, reporter: Reporter) -> None:
        self.config: DetectorConfig = detector.config
        self._detector, self._reporter = detector, reporter
        self._run: nn.Module | None = None

    def eval(self) -> CompiledDetector:
        """Go into the mode that detects."""
        self._detector.eval()
        return self

    def __call__(self, inputs: Tensor, masks: Tensor) -> DetectorOutput:
        """See :meth:`~tadshrink.models.detector.Detector.forward`."""
        return joined([self._one(*window) for window in zip(inputs.split(1), masks.split(1), strict=True)])

    def _one(self, inputs: Tensor, masks: Tensor) -> DetectorOutput:
        if self._run is None:
            self._run = compile_network(self._detector, lambda network: network(inputs, masks), self._reporter)
        return self._run(inputs, masks)


def joined(outputs: Sequence[DetectorOutput]) -> DetectorOutput:
    """The outputs for single windows as that for a batch."""
    def together(name: str) -> list[Tensor]:
        return [torch.cat(level) for level in zip(*(getattr(output, name) for output in outputs), strict=True)]

    return replace(outputs[0], features=torch.cat([output.features for output in outputs]),
                   **{name: together(name) for name in ("cls_logits", "offsets", "masks")})
