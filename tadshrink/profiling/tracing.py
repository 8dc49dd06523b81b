"""Multiply-adds of every module of a network, by fvcore on a graph that is traced without computing anything."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tadshrink.profiling.conventions import FREE, TIMES, Convention, Handle


@dataclass(frozen=True)
class Trace:
    """Multiply-adds by the full name of a module ("" is all), and how often each operator ran that is not counted."""

    macs: dict[str, int]
    not_counted: dict[str, int]


def trace_without_data(network: nn.Module, inputs: Tensor, masks: Tensor, convention: Convention) -> Trace:
    """:func:`trace` of a copy without data ("meta" device) in eval mode: memory and time do not grow with the input.

    As of torch 2.13 a module cannot be traced so that calls a convolution as one (``nn.Conv1d.forward``); detectors call none.
    """
    return trace(_without_data(network), inputs.to("meta"), masks.to("meta"), convention)


def trace(network: nn.Module, inputs: Tensor, masks: Tensor, convention: Convention) -> Trace:
    """Count one call ``network(inputs, masks)`` on the device where all three are."""
    from fvcore.nn import FlopCountAnalysis  # What it warns of when it is first imported is caught in conventions.py.

    analysis = FlopCountAnalysis(_Bare(network), (inputs, masks))
    if convention.handles is not None:
        analysis.clear_op_handles().set_op_handle(**{name: _told(name, handle) for name, handle in convention.handles.items()})
    analysis.set_op_handle(**dict.fromkeys(FREE))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad():
        scopes = {_own_name(name): counts for name, counts in analysis.by_module_and_operator().items()}
    unknown = Counter({name.removeprefix("aten::"): times for name, times in analysis.unsupported_ops().items()})
    skipped = _outermost(scopes, convention)
    macs = {name: _macs(counts) - sum(_macs(scopes[inner]) for inner in skipped if _is_within(inner, name))
            for name, counts in scopes.items() if not any(_is_within(name, outer) for outer in skipped)}
    return Trace(macs, dict(sorted((unknown + _left_out(scopes, skipped)).items())))


def _told(name: str, handle: Handle) -> Handle:
    """The same handle, which also keeps how often it was asked."""
    short = name.removeprefix("aten::")

    def told(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        count = handle(inputs, outputs)
        return count if isinstance(count, Counter) else Counter({short: count, f"{TIMES}{short}": 1})

    return told


def _macs(counts: Counter[str]) -> int:
    return sum(int(count) for name, count in counts.items() if not name.startswith(TIMES))


def _left_out(scopes: Mapping[str, Counter[str]], skipped: list[str]) -> Counter[str]:
    """How often operators ran that have a handle and were not counted all the same: products that start no sum, and skipped modules."""
    result = Counter({"mul": scopes[""][f"{TIMES}mul"]})
    for scope in skipped:
        for name, times in scopes[scope].items():
            if name.startswith(TIMES) and name != f"{TIMES}mul":
                result[f"{name.removeprefix(TIMES)} in {scope.rsplit('.', 1)[-1]}"] += times
    return +result


def _outermost(scopes: Mapping[str, Counter[str]], convention: Convention) -> list[str]:
    """Names of the skipped modules, without those inside other skipped ones."""
    if convention.skipped is None:
        return []
    names = [name for name in scopes if convention.skipped.fullmatch(name)]
    return [name for name in names if not any(name != other and _is_within(name, other) for other in names)]


def _is_within(name: str, outer: str) -> bool:
    return not outer or name == outer or name.startswith(f"{outer}.")


def _own_name(name: str) -> str:
    return name.removeprefix("network").lstrip(".")


class _Bare(nn.Module):
    """Returns bare tensors, which is all that tracing can follow."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        return tuple(_tensors(self.network(inputs, masks)))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
    elif dataclasses.is_dataclass(value):
        yield from _tensors(vars(value))


def _without_data(network: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters and buffers have a shape and no data."""
    known: dict[int, Any] = {}
    for parameter in network.parameters():
        known[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in network.buffers():
        known[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(network, known).eval()
