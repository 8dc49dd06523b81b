from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from tadshrink.compress import student as student_module
from tadshrink.compress.alignment import AlignmentLosses
from tadshrink.compress.losses import boundary_kd, class_kd, feature_loss
from tadshrink.compress.settings import AlignSettings
from tadshrink.compress.student import check_pruned, check_settings, first_trained, make_student
from tadshrink.compress.trace import Trace, run_traced
from tadshrink.data.loader import Batch, TrainingSet
from tadshrink.data.sources import open_source
from tadshrink.distributed import World
from tadshrink.errors import UserError
from tadshrink.models.detector import Detector, build_detector
from tadshrink.models.losses import detection_losses
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.training.draws import Draws
from tests.profiling.models import FEATURES
from tests.recognition.models import VIT

NAMES = ["feature", "cls_kd", "reg_kd", "cls", "reg"]


@pytest.fixture(scope="module")
def batch(tiny) -> Batch:
    return next(Draws(TrainingSet(tiny.data, "train", open_source(tiny.data, tiny.config.sampling)), 4, 0).epoch(0))


def detector(tiny, dropped: tuple[int, ...] = (), drop_path: float = 0.0) -> Detector:
    """The tiny detector, by default without the noise of stochastic depth."""
    state = {name: value for name, value in tiny.opened().detector.state_dict().items()
             if not any(f".blocks.{block}." in name for block in dropped)}
    made = build_detector(tiny.config, state, dropped, "test")
    for module in made.modules():
        if hasattr(module, "drop_path"):
            module.drop_path = drop_path
    return made


def outputs(model: Detector, batch: Batch) -> dict[int, torch.Tensor]:
    trace = Trace()
    run_traced(model, model.embed(batch.inputs, batch.masks), batch.masks, trace)
    return trace.outputs


def taught(losses: AlignmentLosses, batch: Batch) -> dict[str, torch.Tensor]:
    return losses(losses.lesson(batch))


def test_student_trains_updates_norms_patch_embedding_and_head(tiny) -> None:
    student = detector(tiny, (1,))
    assert make_student(student, AlignSettings()) == {"rank": 4, "alpha": 4.0, "targets": ["qkv", "proj"], "state": {}}
    trained = {name for name, value in student.named_parameters() if value.requires_grad}
    vit = "backbone.model.backbone."
    blocks = {f"{vit}blocks.{block}.{name}" for block in (0, 2, 3) for name in (
        "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.qkv.lora_A.default.weight", "attn.qkv.lora_B.default.weight",
        "attn.proj.lora_A.default.weight", "attn.proj.lora_B.default.weight")}
    head = {name for name, _ in student.named_parameters() if not name.startswith("backbone.")}
    assert trained == blocks | head | {f"{vit}patch_embed.projection.weight", f"{vit}patch_embed.projection.bias"}


@pytest.mark.parametrize(("rank", "want"), [(None, (4, 4.0)), (3, (3, 3.0))])
def test_rank_is_a_quarter_of_the_width_unless_given(tiny, rank: int | None, want: tuple[int, float]) -> None:
    lora = make_student(detector(tiny), AlignSettings(rank=rank))
    assert (lora["rank"], lora["alpha"]) == want


def test_a_student_equal_to_its_teacher_has_only_the_task_losses(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny), detector(tiny)
    losses = taught(AlignmentLosses(student, teacher, AlignSettings()), batch)
    assert list(losses) == NAMES
    assert losses["feature"].item() == losses["cls_kd"].item() == 0
    twin = detector(tiny)
    output = twin(batch.inputs, batch.masks)
    task = detection_losses(output, batch.segments, batch.labels, twin.rpn_head.loss_normalizer, twin.config.head, training=True)
    assert losses["cls"].item() == pytest.approx(task.cls.item(), rel=1e-6)
    assert losses["reg"].item() == pytest.approx(task.reg.item(), rel=1e-6)
    # As published: two segments without length count 1 (and, coming out of a ReLU at 0, give no gradient).
    positive = task.targets.positive
    pointlike = (output.segments()[..., 0] == output.segments()[..., 1]) & positive
    assert losses["reg_kd"].item() == pytest.approx((pointlike.sum() / positive.sum()).item(), abs=1e-6)
    assert pointlike.sum() < positive.sum()


def test_a_student_without_a_block_is_pulled_by_every_loss(tiny, batch: Batch) -> None:
    losses = taught(AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings()), batch)
    assert all(value.item() > 0 for value in losses.values())


def test_feature_loss_pairs_blocks_by_their_original_index(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,)), detector(tiny)
    ours, theirs = (outputs(model, batch) for model in (student, teacher))
    assert list(ours) == [0, 2, 3]
    assert torch.equal(ours[0], theirs[0])
    want = sum((ours[block] - theirs[block]).square().mean() for block in (2, 3)) / 3
    assert taught(AlignmentLosses(student, teacher, AlignSettings()), batch)["feature"].item() == pytest.approx(want.item(), rel=1e-5)


def test_gradients_reach_everything_that_is_trained_and_nothing_else(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,)), detector(tiny)
    make_student(student, AlignSettings())
    losses = taught(AlignmentLosses(student, teacher, AlignSettings()), batch)
    torch.stack(list(losses.values())).sum().backward()
    assert all(value.grad is None and not value.requires_grad for value in teacher.parameters())
    for name, value in student.named_parameters():
        assert (value.grad is not None) == value.requires_grad, name
        assert value.grad is None or bool(torch.isfinite(value.grad).all()), name


def test_teacher_judges_in_eval_mode_and_the_student_learns_in_train_mode(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,), 0.5), detector(tiny, (), 0.5).train()
    losses = AlignmentLosses(student, teacher, AlignSettings())
    losses(losses.lesson(batch))
    assert student.training
    assert not any(module.training for module in teacher.modules())


@pytest.mark.parametrize(("weight", "silent"), [
    ("feature_weight", {"feature"}), ("cls_kd_weight", {"cls_kd"}), ("reg_kd_weight", {"reg_kd"}), ("task_weight", {"cls", "reg"})])
def test_weights_scale_their_loss(tiny, batch: Batch, weight: str, silent: set[str]) -> None:
    def losses(**weights: float) -> dict[str, float]:
        found = taught(AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings(**weights)), batch)
        return {name: value.item() for name, value in found.items()}

    plain, doubled = losses(), losses(**{weight: 2.0})
    for name in NAMES:
        assert doubled[name] == pytest.approx(plain[name] * (2 if name in silent else 1), rel=1e-5)
    assert set(NAMES) - losses(**{weight: 0.0}).keys() == silent


EXTRA = {"mid": "mid_weight", "relation": "relation_weight", "mid_relation": "mid_relation_weight"}


@pytest.mark.parametrize("name", EXTRA)
def test_more_losses_can_be_switched_on(tiny, batch: Batch, name: str) -> None:
    found = taught(AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings(**{EXTRA[name]: 2.0})), batch)
    assert set(found) == {*NAMES, name}
    assert found[name].item() > 0
    same = taught(AlignmentLosses(detector(tiny), detector(tiny), AlignSettings(**{EXTRA[name]: 2.0})), batch)
    assert same[name].item() == 0


def test_the_mid_loss_compares_the_tokens_after_the_attention(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,)), detector(tiny)
    mids = {}
    for name, model in (("ours", student), ("theirs", teacher)):
        tokens = outputs(model, batch) | {-1: model.embed(batch.inputs, batch.masks)}
        before = {0: -1, 2: 0 if name == "ours" else 1, 3: 2}
        mids[name] = {block: model.blocks[block].attention_half(tokens[before[block]], 4) for block in (0, 2, 3)}
    want = sum((mids["ours"][block] - mids["theirs"][block]).square().mean() for block in (0, 2, 3)) / 3
    found = taught(AlignmentLosses(student, teacher, AlignSettings(mid_weight=1.0)), batch)
    assert found["mid"].item() == pytest.approx(want.item(), rel=1e-5)


def test_without_distillation_the_teacher_does_nothing(tiny, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings(feature_weight=0, cls_kd_weight=0, reg_kd_weight=0))
    monkeypatch.setattr(losses.teacher.detector, "embed", None)
    assert list(taught(losses, batch)) == ["cls", "reg"]


@pytest.mark.parametrize("settings", [{}, {"checkpointing": "blocks"}, {"mid_weight": 1.0, "feature_weight": 0.0}])
@pytest.mark.parametrize("heal", ["lora", "full"])
def test_what_is_before_the_cut_is_shared_and_gives_the_same_losses_and_gradients(tiny, batch: Batch, settings: dict, heal: str) -> None:
    def gradients(share: bool) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        student, teacher = detector(tiny, (2,)), detector(tiny)
        chosen = AlignSettings(heal=heal, lora_blocks="after-cut", **settings)
        first = first_trained(student, chosen, [])
        make_student(student, chosen, first)
        losses = AlignmentLosses(student, teacher, chosen, first)
        assert (first, losses.shared) == (2, 1)
        if not share:
            losses = AlignmentLosses(student, teacher, chosen)
        found = taught(losses, batch)
        torch.stack(list(found.values())).sum().backward()
        return ({name: value.item() for name, value in found.items()},
                {name: value.grad for name, value in student.named_parameters() if value.grad is not None})

    (ours, shared), (theirs, plain) = gradients(True), gradients(False)
    assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)
    assert shared.keys() == plain.keys()
    assert not any("patch_embed" in name or ".blocks.0." in name or ".blocks.1." in name for name in shared)
    for name, value in shared.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-6)


def test_the_shared_blocks_run_once(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (3,)), detector(tiny)
    settings = AlignSettings(lora_blocks="after-cut")
    make_student(student, settings, 3)
    losses = AlignmentLosses(student, teacher, settings, 3)
    ran = []
    for owner, model in (("student", student), ("teacher", teacher)):
        for index in model.blocks.indices:
            model.blocks[index].register_forward_hook(lambda *rest, name=f"{owner} {index}": ran.append(name))
    taught(losses, batch)
    assert ran == [f"teacher {index}" for index in range(4)]


def test_a_student_that_differs_before_the_cut_runs_on_its_own_there(tiny, batch: Batch) -> None:
    settings = AlignSettings(lora_blocks="after-cut")

    def shared(change: str) -> int | None:
        student, teacher = detector(tiny, (3,)), detector(tiny)
        if change:
            student.get_parameter(f"backbone.model.backbone.{change}").data += 0.1
        make_student(student, settings, 3)
        losses = AlignmentLosses(student, teacher, settings, 3)
        plain = AlignmentLosses(student, teacher, settings)
        assert taught(losses, batch)["cls_kd"].item() == pytest.approx(taught(plain, batch)["cls_kd"].item(), rel=1e-4)
        return losses.shared

    assert [shared(change) for change in ("", "blocks.2.norm1.bias", "blocks.0.norm1.bias", "patch_embed.projection.bias")] == [2, 1, -1, None]


def test_nothing_random_happens_before_the_cut(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (3,), drop_path=0.9), detector(tiny)
    student.get_parameter("backbone.model.backbone.patch_embed.projection.bias").data += 0.1
    settings = AlignSettings(lora_blocks="after-cut")
    make_student(student, settings, 3)
    losses = AlignmentLosses(student, teacher, settings, 3)
    assert losses.shared is None
    assert torch.equal(losses._start(losses.lesson(batch)), losses._start(losses.lesson(batch)))


@pytest.mark.parametrize("kind", ["mlp", "blocks"])
def test_checkpointing_gives_the_same_gradients(tiny, batch: Batch, kind: str) -> None:
    def gradients(checkpointing: str) -> dict[str, torch.Tensor]:
        student = detector(tiny, (1,), drop_path=0.3)
        settings = AlignSettings(checkpointing=checkpointing, mid_weight=1.0)
        make_student(student, settings)
        torch.manual_seed(0)
        torch.stack(list(taught(AlignmentLosses(student, detector(tiny), settings), batch).values())).sum().backward()
        return {name: value.grad for name, value in student.named_parameters() if value.grad is not None}

    plain, again = gradients("none"), gradients(kind)
    assert plain.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in plain.items())


@pytest.mark.parametrize(("kind", "kept"), [("none", {16, 64}), ("mlp", {16})])
def test_what_the_mlp_widens_is_kept_for_the_backward_pass_only_if_not_thrifty(tiny, kind: str, kept: set[int]) -> None:
    student, settings = detector(tiny), AlignSettings(checkpointing=kind)
    make_student(student, settings)
    AlignmentLosses(student, detector(tiny), settings)
    widths = set()

    def pack(value: torch.Tensor) -> torch.Tensor:
        # Tokens have three axes.
        widths.update(value.shape[-1:] if value.dim() == 3 else ())
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        student.blocks[0].mlp_half(torch.randn(2, 8, 16, requires_grad=True), 1)
    assert widths - {1} == kept


def test_full_fine_tuning_trains_all_weights_that_count_and_none_trains_nothing(tiny) -> None:
    student = detector(tiny, (1,))
    assert make_student(student, AlignSettings(heal="full")) is None
    assert {name for name, value in student.named_parameters() if not value.requires_grad} == {
        "backbone.model.backbone.fc_norm.weight", "backbone.model.backbone.fc_norm.bias"}
    assert make_student(student, AlignSettings(heal="none")) is None
    assert not any(value.requires_grad for value in student.parameters())


@pytest.mark.parametrize("settings", [{"rank": 17}, {"rank": 3, "lora_init": "orthogonal"}])
def test_a_rank_that_cannot_be_is_refused(tiny, settings: dict) -> None:
    with pytest.raises(UserError, match="--rank"):
        check_settings(detector(tiny), AlignSettings(**settings))


def test_a_distillation_that_is_always_0_is_refused(tiny) -> None:
    single = Detector(tiny.config.model_copy(update={"classes": ("action",)}))
    check_settings(single, AlignSettings())
    check_settings(single, AlignSettings(cls_kd="softmax", cls_kd_weight=0))
    with pytest.raises(UserError, match=r"always 0 for a model of one class\. Give --cls-kd binary"):
        check_settings(single, AlignSettings(cls_kd="softmax"))


@pytest.mark.parametrize(("changed", "dropped", "want"), [([], (2,), 2), ([1], (2,), 1), ([], ("1.mlp", 3), 1), ([], (), 0)])
def test_training_begins_at_the_first_block_that_was_dropped_or_changed(tiny, changed: list[int], dropped: tuple, want: int) -> None:
    student = Detector(tiny.config, dropped)
    assert first_trained(student, AlignSettings(lora_blocks="after-cut"), changed) == want
    assert first_trained(student, AlignSettings(), changed) is None


def test_the_published_class_distillation_can_be_chosen(tiny, batch: Batch) -> None:
    binary, softmax = (taught(AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings(cls_kd=kind)), batch)
                       for kind in ("binary", "softmax"))
    assert binary["cls_kd"].item() != softmax["cls_kd"].item()
    assert binary["feature"].item() == softmax["feature"].item()


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"epochs": -1}, {"cls_kd": "cosine"}, {"rank": 0}, {"temperature": 0}, {"what": 1}])
def test_settings_refuse_nonsense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlignSettings(**wrong)


def test_losses_without_a_block_to_compare_are_left_out_and_named(tiny, batch: Batch) -> None:
    teacher = detector(tiny)
    student = detector(tiny)
    for block in range(4):
        student.blocks.drop(f"{block}.mlp")
    losses = AlignmentLosses(student, teacher, AlignSettings(mid_weight=1.0, mid_relation_weight=1.0))
    assert list(taught(losses, batch)) == NAMES
    assert "left out, as there is nothing to compare: mid_weight, mid_relation_weight" in losses.described()
    alone = AlignSettings(mid_weight=1.0, feature_weight=0.0, cls_kd_weight=0.0, reg_kd_weight=0.0, task_weight=0.0)
    with pytest.raises(UserError, match="of the losses asked for none is left"):
        AlignmentLosses(student, teacher, alone)
    with pytest.raises(UserError, match="none is left"):
        # A cut after the last block: none of those that are trained is compared.
        AlignmentLosses(detector(tiny), teacher, alone.model_copy(update={"mid_weight": 0.0, "feature_weight": 1.0}), first=4)


def test_a_batch_that_cannot_be_shared_is_refused_wherever_windows_are_drawn(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_module, "world", lambda: World(0, 3))
    check_settings(detector(tiny), AlignSettings(heal="none"))
    for settings in ({"heal": "none", "init": "linear"}, {"heal": "full"}):
        with pytest.raises(UserError, match="processes"):
            check_settings(detector(tiny), AlignSettings(**settings))


def test_what_a_start_may_find_after_pruning_is_a_head_as_wide_as_it_was(tiny) -> None:
    wide = detector(tiny).config
    heads, width = wide.backbone.heads, wide.backbone.width
    halved = wide.model_copy(update={"backbone": wide.backbone.model_copy(update={"kept": ((1, 8),) * wide.backbone.depth})})
    assert heads > 1
    settings = AlignSettings(rank=width // heads + 1, lora_init="pissa", lora_targets=("qkv",))
    for config in (wide, halved):
        with pytest.raises(UserError, match=f"where a layer is {width // heads} wide"):
            check_pruned(Detector(config), settings)


def test_each_loss_is_the_one_that_was_chosen(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,)), detector(tiny)
    losses = AlignmentLosses(student, teacher, AlignSettings(relation_weight=1.0, reg_kd="giou", cls_kd="decoupled", temperature=2.0))
    lesson = losses.lesson(batch)
    found, output = losses(lesson), student(batch.inputs, batch.masks)
    targets = detection_losses(output, batch.segments, batch.labels, torch.tensor(1.0), tiny.config.head, training=False).targets
    expected = {"relation": feature_loss(outputs(student, batch), outputs(teacher, batch), "relation"),
                "reg_kd": boundary_kd(output.segments(), lesson.answer.segments, targets.positive, "giou"),
                "cls_kd": class_kd(output.logits(), lesson.answer.logits, output.valid(), 2.0, "decoupled", targets.classes)}
    assert {name: found[name].item() for name in expected} == pytest.approx({name: one.item() for name, one in expected.items()}, rel=1e-5)


def test_padding_is_not_compared() -> None:
    torch.manual_seed(0)
    head = FEATURES.head.model_copy(update={"drop_path": 0.0, "input_dropout": 0.0})
    teacher, student = (Detector(FEATURES.model_copy(update={"head": head}), dropped) for dropped in ((), (1,)))
    student.load_state_dict({name: value for name, value in teacher.state_dict().items() if name in student.state_dict()})
    with torch.no_grad():
        for model in (teacher, student):
            for name, value in model.named_parameters():
                if name.endswith("scale"):
                    value.fill_(1.0)
    masks = torch.arange(32)[None] < torch.tensor([[32], [9]])
    batch = Batch(torch.randn(2, 6, 32), masks, [torch.zeros(0, 2)] * 2, [torch.zeros(0, dtype=torch.long)] * 2)
    losses = AlignmentLosses(student, teacher, AlignSettings(cls_kd_weight=0, reg_kd_weight=0, task_weight=0))
    found = taught(losses, batch)["feature"].item()
    student.eval()
    ours, theirs = outputs(student, batch), outputs(teacher, batch)
    assert found == pytest.approx(feature_loss(ours, theirs, content=masks).item(), rel=1e-5)
    assert found != pytest.approx(feature_loss(ours, theirs).item(), rel=1e-3)


def test_updates_are_of_the_kind_that_was_chosen(tiny) -> None:
    student = detector(tiny)
    make_student(student, AlignSettings(dora=True, lora_init="pissa"))
    updates = {name: value for name, value in student.named_parameters() if ".lora_" in name}
    assert any("lora_magnitude_vector" in name for name in updates)
    assert all(value.any() for name, value in updates.items() if ".lora_B." in name)


def test_checkpointing_keeps_less(tiny, batch: Batch) -> None:
    def kept(kind: str) -> int:
        total: list[int] = []
        losses = AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings(checkpointing=kind))
        losses.student.requires_grad_(True)
        lesson = losses.lesson(batch)
        with torch.autograd.graph.saved_tensors_hooks(lambda value: total.append(value.nbytes) or value, lambda value: value):
            losses(lesson)
        return sum(total)

    assert kept("blocks") < 0.8 * kept("none")


def test_training_begins_before_a_module_that_is_trained() -> None:
    student = ActionRecogniser(VIT.model_copy(update={"sfc": SfcConfig(split="block:0")}), (2,))
    assert first_trained(student, AlignSettings(lora_blocks="after-cut"), []) == 0
