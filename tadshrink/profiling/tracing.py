"""Multiply-adds of every module of a network, by fvcore on a graph that is traced without computing anything."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.profiling.conventions import FREE, TIMES, Convention, Handle

#: How modules are called that are convolutions and nothing else; other kinds of them have a call of their own.
_CONVOLUTIONS = (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)


@dataclass(frozen=True)
class Trace:
    """Multiply-adds by the full name of a module ("" is all), and how often each operator ran that is not counted."""

    macs: dict[str, int]
    not_counted: dict[str, int]


def trace_without_data(network: nn.Module, inputs: Sequence[Tensor], convention: Convention) -> Trace:
    """:func:`trace` of a copy without data ("meta" device) in eval mode: memory and time do not grow with the input."""
    return trace(_without_data(network), [tensor.to("meta") for tensor in inputs], convention)


def trace(network: nn.Module, inputs: Sequence[Tensor], convention: Convention) -> Trace:
    """Count one call ``network(*inputs)`` on the device where all of them are."""
    from fvcore.nn import FlopCountAnalysis  # What it warns of when it is first imported is caught in conventions.py.

    analysis = FlopCountAnalysis(_Bare(network), tuple(inputs))
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

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(_tensors(self.network(*inputs)))


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
    made = copy.deepcopy(network, known).eval()
    for module in made.modules():
        if type(module).forward in _CONVOLUTIONS and _is_plain(module):
            module.forward = partial(_as_product, module)
    return made


def _is_plain(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    return layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _as_product(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """A convolution as one matrix product, which counts the same: as of torch 2.13, one that is called as such cannot be traced without
    data."""
    x = F.pad(x, [size for size in reversed(layer.padding) for _ in range(2)])
    for axis, (size, stride) in enumerate(zip(layer.kernel_size, layer.stride, strict=True), start=2):
        x = x.unfold(axis, size, stride)
    patches = x.movedim(1, len(layer.kernel_size) + 1).flatten(len(layer.kernel_size) + 1)
    return F.linear(patches, layer.weight.flatten(1), layer.bias).movedim(-1, 1)
