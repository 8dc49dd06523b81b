"""Multiply-adds of networks that were counted before: tracing is what takes the time of many a command on a tiny model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from torch import Tensor, nn

from tadshrink.models.vit import Block
from tadshrink.profiling import macs, tracing
from tadshrink.profiling.conventions import Convention
from tadshrink.profiling.tracing import Trace

_counted: dict[tuple[object, ...], Trace] = {}


def _structure(network: nn.Module) -> tuple[object, ...]:
    """All that a count may depend on: the modules with what is set in them, and the shape and type of every tensor."""
    tensors = tuple((name, tuple(value.shape), value.dtype) for name, value in network.state_dict(keep_vars=True).items())
    modules = tuple((name, type(module), repr({key: value for key, value in vars(module).items() if not key.startswith("_")} | {"training": 0}))
                    for name, module in network.named_modules())
    return modules, tensors


def trace_once(network: nn.Module, inputs: Sequence[Tensor], convention: Convention) -> Trace:
    """:func:`~tadshrink.profiling.tracing.trace_without_data`, once for all networks that are alike."""
    key = (*_structure(network), tuple((tuple(tensor.shape), tensor.dtype) for tensor in inputs), convention.name)
    if key not in _counted:
        _counted[key] = tracing.trace_without_data(network, inputs, convention)
    return _counted[key]


@pytest.fixture(scope="module")
def counted_once() -> Iterator[None]:
    """For files of tests in which counting happens by the way; in those of the counting itself each one counts afresh."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(macs, "trace_without_data", trace_once)
        yield


def blocks_run(call: Callable[[], object]) -> float:
    """How many blocks of a ViT a call runs: a time that does not depend on the machine."""
    seen: list[None] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(None) if isinstance(module, Block) else None)
    try:
        call()
    finally:
        handle.remove()
    return float(len(seen))
