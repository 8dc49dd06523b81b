from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from tadshrink.compress import initialise
from tadshrink.compress.initialise import gaps, head_start, last_layer
from tadshrink.compress.trace import Trace, run_traced
from tadshrink.data.loader import Batch
from tadshrink.device import Compute
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector

CPU = Compute(torch.device("cpu"), torch.float32, "a test")
HEAD = HeadConfig(width=16, heads=2, levels=2, embed_layers=1, stem_layers=4, head_layers=1, regression_ranges=((0, 6), (6, 10000)))
VIDEO = DetectorConfig(classes=("a",), head=HEAD, sampling=SamplingConfig(window=16, frames_per_cell=2, frame_size=32),
                       backbone=BackboneConfig(width=16, depth=4, heads=2, patch_size=16, table_size=32))
ADAPTED = VIDEO.model_copy(update={"backbone": VIDEO.backbone.model_copy(update={"adapters": (0, 1, 2, 3), "adapter_width": 8})})
FEATURES = DetectorConfig(classes=("a",), head=HEAD, sampling=SamplingConfig(window=16), backbone=FeatureConfig(channels=6))
CONFIGS = {"video": VIDEO, "adapters": ADAPTED, "features": FEATURES}


def pair(config: DetectorConfig, dropped: tuple[int | str, ...]) -> tuple[Detector, Detector]:
    """A student and its teacher, whose branches do much."""
    torch.manual_seed(0)
    teacher = Detector(config).eval()
    for name, value in teacher.named_parameters():
        if name.endswith("scale"):
            value.data.uniform_(0.5, 1.5)
        elif "adapter" in name:
            value.data.normal_(0, 0.3)
    student = Detector(config, dropped).eval()
    kept = student.state_dict().keys()
    student.load_state_dict({name: value for name, value in teacher.state_dict().items() if name in kept})
    return student, teacher


def batches(config: DetectorConfig, count: int = 8) -> Callable[[], Iterable[Batch]]:
    def one(number: int) -> Batch:
        generator = torch.Generator().manual_seed(number)
        frames = torch.randint(0, 256, (4, 1, 3, 32, 32, 32), generator=generator, dtype=torch.uint8)
        inputs = torch.randn(4, 6, 16, generator=generator) if isinstance(config.backbone, FeatureConfig) else frames
        masks = torch.ones(4, 16, dtype=torch.bool)
        masks[0, 10:] = False
        return Batch(inputs, masks, [], [])

    return lambda: (one(number) for number in range(count))


def after(model: Detector, batch: Batch, block: int) -> Tensor:
    return run_traced(model, model.embed(batch.inputs, batch.masks), batch.masks, Trace(), last=block)


def error(student: Detector, teacher: Detector, batch: Batch, block: int, target: int) -> float:
    return (after(student, batch, block) - after(teacher, batch, target)).square().mean().item()


@pytest.mark.parametrize("kind", ["rescale", "linear"])
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_the_stream_after_the_gap_comes_closer_on_windows_not_seen(name: str, kind: str, interrupt) -> None:
    config, reporter = CONFIGS[name], interrupt()
    student, teacher = pair(config, (2,))
    unseen = list(batches(config, 9)())[-1]
    before = error(student, teacher, unseen, 1, 2)
    assert head_start(student, teacher, kind, batches(config), CPU, reporter) == [1]
    assert error(student, teacher, unseen, 1, 2) < (0.98 if kind == "rescale" else 0.8) * before
    said = f"head start ({kind}, in block 1, fitted on 24 windows): the squared error after block 2, on 8 windows not fitted on, falls from"
    assert said in reporter.notes[0]


@pytest.mark.parametrize(("count", "said"), [(1, "fitted on 4 windows): the squared error after block 2, on the windows fitted on, as"),
                                             (2, "fitted on 4 windows): the squared error after block 2, on 4 windows not fitted on,"),
                                             (3, "fitted on 8 windows): the squared error after block 2, on 4 windows not fitted on,")])
def test_of_few_batches_the_last_is_kept_out(count: int, said: str, interrupt) -> None:
    student, teacher = pair(VIDEO, (2,))
    reporter = interrupt()
    head_start(student, teacher, "linear", batches(VIDEO, count), CPU, reporter)
    assert said in reporter.notes[0]


def test_without_a_gap_nothing_is_changed(interrupt) -> None:
    student, teacher = pair(VIDEO, ())
    reporter = interrupt()
    assert head_start(student, teacher, "linear", batches(VIDEO), CPU, reporter) == []
    assert "nothing to correct" in reporter.notes[0]


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_what_is_added_to_the_layer_is_added_to_the_stream_exactly(name: str) -> None:
    model, _ = pair(CONFIGS[name], ())
    batch = next(iter(batches(CONFIGS[name])()))
    carrier, seen = last_layer(model.blocks[1]), []
    carrier.layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    before = after(model, batch, 1)
    solution = torch.randn(carrier.layer.in_features + 1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    carrier.add(solution)
    want = before + seen[0] @ solution[:-1].float() + solution[-1].float()
    found, valid = after(model, batch, 1), slice(None)
    if name == "features":
        valid = batch.masks
    torch.testing.assert_close(found[valid], want[valid], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_block_that_is_linear_in_what_the_layer_sees_is_taken_over_whole() -> None:
    student, teacher = pair(VIDEO, (2,))
    # The teacher's block 2 adds nothing but a constant, its attention and its MLP do nothing else.
    block = teacher.blocks[2]
    for layer in (block.attn.proj, block.mlp.layers[1]):
        layer.weight.zero_()
        layer.bias.copy_(torch.arange(16.0))
    head_start(student, teacher, "linear", batches(VIDEO), CPU)
    want = teacher.blocks[1].mlp.layers[1].bias + 2 * torch.arange(16.0)
    torch.testing.assert_close(student.blocks[1].mlp.layers[1].bias, want, rtol=0, atol=0.02)
    unseen = list(batches(VIDEO, 9)())[-1]
    assert error(student, teacher, unseen, 1, 2) < 1e-5


@pytest.mark.parametrize(("dropped", "teacher_lacks", "want"), [
    ((2,), (), {1: 2}), ((1, 2), (), {0: 2}), ((1, 3), (), {0: 1, 2: 3}), ((0,), (), {None: 0}), (("2.mlp",), (), {2: 2}),
    (("2.attention", 3), (), {2: 3}), ((1, 3), (1,), {2: 3}), ((), (), {}), (("2.mlp",), ("2.mlp",), {})])
def test_gaps_are_what_the_teacher_has_and_the_student_lacks(dropped: tuple, teacher_lacks: tuple, want: dict) -> None:
    assert gaps(Detector(VIDEO, dropped), Detector(VIDEO, teacher_lacks)) == want


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("half", ["attention", "mlp"])
@torch.no_grad()
def test_half_a_block_is_taken_over_by_what_is_left_of_it(name: str, half: str) -> None:
    student, teacher = pair(CONFIGS[name], (f"2.{half}",))
    unseen = list(batches(CONFIGS[name], 9)())[-1]
    before = error(student, teacher, unseen, 2, 2)
    assert head_start(student, teacher, "linear", batches(CONFIGS[name]), CPU) == [2]
    assert error(student, teacher, unseen, 2, 2) < 0.9 * before


@torch.no_grad()
def test_nothing_can_take_over_the_first_block(interrupt) -> None:
    reporter = interrupt()
    student, teacher = pair(VIDEO, (0,))
    assert head_start(student, teacher, "linear", batches(VIDEO), CPU, reporter) == []
    assert reporter.notes == ["head start: nothing before block 0 can take over its work"]


@torch.no_grad()
def test_a_correction_that_does_not_help_is_left_out(interrupt, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = interrupt()
    student, teacher = pair(VIDEO, (2,))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    monkeypatch.setattr(initialise, "fit_factors",
                        lambda fitted, weight: torch.full((weight.shape[1] + 1, weight.shape[0]), 9.0, dtype=torch.float64))
    assert head_start(student, teacher, "rescale", batches(VIDEO), CPU, reporter) == []
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert "stays at" in reporter.notes[0]


@torch.no_grad()
def test_channels_of_a_branch_that_counts_nothing_stay(interrupt) -> None:
    student, teacher = pair(FEATURES, (2,))
    student.blocks[1].drop_path_mlp.scale[0, 3] = 0.0
    before = student.blocks[1].mlp[3].weight.clone()
    head_start(student, teacher, "linear", batches(FEATURES), CPU)
    after_it = student.blocks[1].mlp[3].weight
    assert torch.isfinite(after_it).all()
    assert torch.equal(after_it[3], before[3]) and not torch.equal(after_it[2], before[2])
