from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tadshrink.device import Compute
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.losses import class_losses
from tadshrink.recognition.opening import open_recogniser, read_recogniser
from tadshrink.recognition.recogniser import ActionRecogniser, RecogniserOutput, with_module
from tadshrink.recognition.settings import ClipTrainSettings, ModuleTrainSettings
from tadshrink.recognition.training import HeadFeatures, LabelledVideos, clip_task, measure_norms, module_task
from tadshrink.recognition.views import ClipSource, Views
from tadshrink.recognition.windows import ClipTrainingSet, ClipWindows
from tests.clips import TinyClips
from tests.notes import Notes

CPU = Compute(torch.device("cpu"), torch.float32, "test")
SPLITS = {"vit": "block:1", "slow": "res3"}


def opened(tiny_clips: TinyClips, name: str, module: bool = True) -> ActionRecogniser:
    plain = open_recogniser(read_recogniser(tiny_clips.checkpoints[name]), name)
    return with_module(plain, SfcConfig(split=SPLITS[name], clips=3, ratio=0.3)) if module else plain


def videos(tiny_clips: TinyClips, recogniser: ActionRecogniser, count: int = 5) -> LabelledVideos:
    data = tiny_clips.choice.load(Notes())
    records = data.split("training")[:count]
    return LabelledVideos(records, [data.classes.index(record.label) for record in records], ClipSource(recogniser.config.clip, "light"))


def head_features(tiny_clips: TinyClips, recogniser: ActionRecogniser, notes: Notes, **settings: object) -> HeadFeatures:
    return HeadFeatures(recogniser, videos(tiny_clips, recogniser), CPU, ModuleTrainSettings(**settings), notes)


def test_features_are_computed_once_as_long_as_there_is_room(tiny_clips: TinyClips) -> None:
    recogniser, notes = opened(tiny_clips, "vit"), Notes()
    features = head_features(tiny_clips, recogniser, notes)
    first = features.of(0, np.random.default_rng(0))
    assert features.of(0, np.random.default_rng(1)) is first
    assert features.bytes == first.nbytes
    record = features.videos.records[0]
    with torch.no_grad():
        expected = recogniser.clip_features(features.videos.source.views(record, Views(3, 1, turns=3))[None])[0]
    assert torch.equal(first.features, expected)
    assert not first.dense.numel()
    assert not notes.lines


def test_without_room_they_are_the_same_and_it_is_told_once(tiny_clips: TinyClips) -> None:
    recogniser, notes = opened(tiny_clips, "vit"), Notes()
    kept, computed = (head_features(tiny_clips, recogniser, notes, keep_mib=room) for room in (1, 0))
    rng = np.random.default_rng(0)
    for index in (0, 1, 0):
        assert all(map(torch.equal, kept.of(index, rng), computed.of(index, rng)))
    assert computed.bytes == 0
    assert notes.lines == ["features of 0 of 5 videos fill 0 MiB; those of the others are computed in every epoch (--keep-mib)"]


def test_random_clips_are_not_kept(tiny_clips: TinyClips) -> None:
    features = head_features(tiny_clips, opened(tiny_clips, "vit"), Notes(), augment=True)
    first, other = (features.of(0, np.random.default_rng(seed)) for seed in (0, 1))
    assert not torch.equal(first.features, other.features)
    assert features.bytes == 0


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("name", SPLITS)
def test_a_dense_answer_is_that_of_the_same_clips_one_by_one(tiny_clips: TinyClips, name: str, augment: bool) -> None:
    recogniser, plain = opened(tiny_clips, name), opened(tiny_clips, name, module=False)
    for one in (recogniser, plain):
        # So sure that the mean of probabilities is not that of logits.
        one.cls_head.fc_cls.weight.data.mul_(20)
    features = head_features(tiny_clips, recogniser, Notes(), augment=augment, dense_weight=0.5)
    recogniser.train()
    found = features.of(0, np.random.default_rng(0))
    source, record = features.videos.source, features.videos.records[0]
    clips = source.draw(record, 3, np.random.default_rng(0), turns=3) if augment else source.views(record, Views(3, 1, turns=3))
    with torch.no_grad():
        each = plain.probabilities(clips, together=False)
    assert each.std(0).max() > 0.01
    torch.testing.assert_close(found.dense, each.mean(0))
    assert features.bytes == (0 if augment else found.features.nbytes + found.dense.nbytes)


def test_batches_of_an_epoch_repeat_and_another_epoch_has_others(tiny_clips: TinyClips) -> None:
    recogniser = opened(tiny_clips, "slow", module=False)
    task = clip_task(recogniser, videos(tiny_clips, recogniser), ClipTrainSettings(batch_size=4, clips_per_video=2))
    first, again, other = ([clips for clips, _ in task.batches(epoch)] for epoch in (0, 0, 1))
    assert len(first) == task.batches_per_epoch == 2
    assert first[0].shape == (4, 1, 3, 4, 32, 32)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("module", [False, True])
def test_each_sample_has_the_label_of_its_video(tiny_clips: TinyClips, module: bool) -> None:
    recogniser = opened(tiny_clips, "slow", module)
    features = head_features(tiny_clips, recogniser, Notes())
    task = (module_task(recogniser, features, ModuleTrainSettings(batch_size=5)) if module
            else clip_task(recogniser, features.videos, ClipTrainSettings(batch_size=5, clips_per_video=1)))
    assert len(set(features.videos.labels)) > 1
    order = features.videos.order(0, 0)
    (_, labels, *_), = task.batches(0)
    assert labels.tolist() == [features.videos.labels[index] for index in order]


def test_a_set_smaller_than_a_batch_is_one_batch(tiny_clips: TinyClips) -> None:
    recogniser = opened(tiny_clips, "vit")
    features = head_features(tiny_clips, recogniser, Notes())
    task = module_task(recogniser, features, ModuleTrainSettings(batch_size=99))
    (inputs, labels, _), = task.batches(0)
    assert task.batches_per_epoch == 1
    assert len(inputs) == len(labels) == 5


def test_norms_of_the_module_alone_are_measured(tiny_clips: TinyClips) -> None:
    recogniser = opened(tiny_clips, "slow")
    task = module_task(recogniser, head_features(tiny_clips, recogniser, Notes()), ModuleTrainSettings(batch_size=5))
    before = {name: value.clone() for name, value in recogniser.state_dict().items()}
    measure_norms(task, CPU)
    changed = {name for name, value in recogniser.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all((name.startswith("sfc.abstraction") and "running" in name) or "num_batches" in name for name in changed)
    (inputs, *_), = task.batches(0)
    norm = recogniser.sfc.abstraction[1]
    with torch.no_grad():
        values = recogniser.sfc.abstraction[0](inputs)
    torch.testing.assert_close(norm.running_mean, values.mean((0, 2, 3, 4)), rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1


@pytest.mark.parametrize("module", [False, True])
def test_the_loss_is_cross_entropy_with_the_labels(tiny_clips: TinyClips, module: bool) -> None:
    recogniser = opened(tiny_clips, "slow", module)
    features = head_features(tiny_clips, recogniser, Notes())
    task = (module_task(recogniser, features, ModuleTrainSettings(batch_size=5, label_smoothing=0.1)) if module
            else clip_task(recogniser, features.videos, ClipTrainSettings(batch_size=5, clips_per_video=1, label_smoothing=0.1)))
    (inputs, labels, *more), = task.batches(0)
    torch.manual_seed(0)
    found = task.losses([inputs, labels, *more])["ce"]
    torch.manual_seed(0)
    logits = recogniser.finish_clips(inputs) if module else recogniser(inputs)[:, 0]
    assert len(set(labels.tolist())) > 1
    torch.testing.assert_close(found, functional.cross_entropy(logits, labels, label_smoothing=0.1))


def test_a_share_of_the_loss_compares_with_the_dense_answers(tiny_clips: TinyClips) -> None:
    recogniser = opened(tiny_clips, "vit")
    features = head_features(tiny_clips, recogniser, Notes(), dense_weight=0.25)
    task = module_task(recogniser, features, ModuleTrainSettings(batch_size=5, dense_weight=0.25, label_smoothing=0.1))
    (inputs, labels, dense), = task.batches(0)
    found = task.losses([inputs, labels, dense])
    logits = recogniser.finish_clips(inputs)
    torch.testing.assert_close(found["ce"], 0.75 * functional.cross_entropy(logits, labels, label_smoothing=0.1))
    torch.testing.assert_close(found["dense"], -0.25 * (dense * logits.log_softmax(-1)).sum(-1).mean())
    order = features.videos.order(0, 0)
    assert torch.equal(dense[0], features.of(order[0], np.random.default_rng(0)).dense)
    assert not torch.equal(dense[0], dense[1])


def test_clips_to_align_on_have_the_labels_of_their_videos(tiny_clips: TinyClips) -> None:
    data = tiny_clips.choice.load(Notes())
    records, config = data.split("training"), opened(tiny_clips, "vit", False).config
    batch = ClipTrainingSet(data, "training", ClipWindows(records, config)).batch(range(len(records)), 0, 0)
    assert [int(label) for label in batch.labels] == [data.classes.index(record.label) for record in records]


def test_the_loss_of_a_class_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]])
    losses = class_losses(RecogniserOutput(torch.zeros(2, 1, 1), logits), [torch.tensor([2]), torch.tensor([0])])
    assert losses.cls.item() == pytest.approx(-(logits.log_softmax(1)[0, 2] + logits.log_softmax(1)[1, 0]).item() / 2)
