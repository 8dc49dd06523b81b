from __future__ import annotations

import pytest
import torch

from tadshrink.device import Compute
from tadshrink.errors import UserError
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.evaluation import predict
from tadshrink.recognition.opening import open_recogniser, read_recogniser
from tadshrink.recognition.recogniser import ActionRecogniser, with_module
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.recognition.views import ClipSource, Views
from tests.clips import ARCHITECTURES, TinyClips

CPU = Compute(torch.device("cpu"), torch.float32, "test")


@pytest.fixture(params=ARCHITECTURES)
def recogniser(tiny_clips: TinyClips, request: pytest.FixtureRequest) -> ActionRecogniser:
    path = tiny_clips.checkpoints[request.param]
    return open_recogniser(read_recogniser(path), path)


def records(tiny_clips: TinyClips) -> list[TrimmedVideo]:
    return [TrimmedVideo(str(number), tiny_clips.video(number), "") for number in range(3)]


@pytest.mark.parametrize(("views", "batch_size"), [(Views(4, 3), 5), (Views(4, 3), 100), (Views(1, 1), 2)])
def test_probabilities_of_views_are_averaged_whatever_the_batches(recogniser: ActionRecogniser, tiny_clips: TinyClips, views: Views,
                                                                  batch_size: int) -> None:
    source = ClipSource(recogniser.config.clip)
    found = predict(recogniser, records(tiny_clips), source, views, CPU, batch_size)
    with torch.no_grad():
        expected = [recogniser(source.views(record, views)[None])[0].softmax(-1).mean(0) for record in records(tiny_clips)]
    torch.testing.assert_close(found, torch.stack(expected))
    torch.testing.assert_close(found.sum(1), torch.ones(3))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_one_pass_is_that_of_the_module_on_its_own_clips(recogniser: ActionRecogniser, tiny_clips: TinyClips, batch_size: int) -> None:
    split = "res3" if recogniser.config.name == "slow" else "block:1"
    recogniser = with_module(recogniser, SfcConfig(split=split, clips=4, ratio=0.25))
    source = ClipSource(recogniser.config.clip)
    found = predict(recogniser, records(tiny_clips), source, None, CPU, batch_size)
    with torch.no_grad():
        expected = [recogniser.compress(source.views(record, Views(4, 1, turns=3))[None])[0].softmax(-1) for record in records(tiny_clips)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_without_a_module_there_is_no_one_pass(recogniser: ActionRecogniser, tiny_clips: TinyClips) -> None:
    with pytest.raises(UserError, match="no compressing module"):
        predict(recogniser, records(tiny_clips), ClipSource(recogniser.config.clip), None, CPU)
