"""A frozen stream answers what a stream answers, step by step; where there is none, it says why."""

import io

import pytest
import torch

from heart_tiny import Tiny, frames, seeded
from test_stream import AHEAD, RULES, STRIDED, UNPADDED, drawn
from timelift import Stream, create_model, lift, optimize_stream
from timelift.deploy import frozen_stream
from timelift.deploy.frozen_stream import FrozenStream
from timelift.records.errors import UsageError
from timelift.testing import wake


def floats(rules):
    return drawn(lift(wake(seeded(Tiny), frames()), *rules), 0.3).float()


def moving(number, videos=1, size=11, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, videos, 3, size, size + 2, generator=generator)


def check_alike(stream, wanted, clips):
    for frame in clips:
        came, ours = stream.step(frame), wanted.step(frame)
        assert came.frames_seen == ours.frames_seen
        for one, other in ((came.frame_logits, ours.frame_logits), (came.clip_logits, ours.clip_logits)):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("videos", [1, 3])
def test_every_step_is_the_streams(name, videos):
    video = floats(RULES[name])
    clips = moving(7, videos)
    frozen = FrozenStream(video, clips[0])
    check_alike(frozen, Stream(video), clips)
    frozen.reset()
    check_alike(frozen, Stream(video), clips.flip(0))


def test_a_state_goes_on_elsewhere():
    video, clips = floats(RULES["gates"]), moving(6)
    one, wanted = FrozenStream(video, clips[0]), Stream(video)
    assert one.state_dict() == {}
    check_alike(one, wanted, clips[:3])
    kept = io.BytesIO()
    torch.save(one.state_dict(), kept)
    kept.seek(0)
    other = FrozenStream(video, clips[0])
    other.load_state_dict(torch.load(kept))
    check_alike(other, wanted, clips[3:])
    other.load_state_dict({})
    check_alike(other, Stream(video), clips)
    state = one.state_dict()
    for wrong in (
        Stream(video).state_dict(),
        state | {"clip_logits": state["clip_logits"][0]},
        state | {"clip_logits": torch.cat([state["clip_logits"]] * 2)},
        state | {"clip_logits": state["clip_logits"][0, 0]},
        {name: None for name in state},
        dict(reversed(state.items())),
    ):
        with pytest.raises(UsageError, match="not the state of this network's stream"):
            other.load_state_dict(wrong)


def test_the_network_stays_and_is_not_asked_again():
    video, clips = floats(RULES["inflate"]), moving(3)
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    frozen, wanted = FrozenStream(video, clips[0]), [Stream(video).step(clips[0]).clip_logits]
    assert all(torch.equal(tensor, before[name]) for name, tensor in video.state_dict().items())
    with torch.no_grad():
        for parameter in video.parameters():
            parameter.zero_()
    torch.testing.assert_close(frozen.step(clips[0]).clip_logits, wanted[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rules", [STRIDED[2], UNPADDED[3, 1], AHEAD[1]])
def test_what_does_not_answer_every_frame_stays_as_it_is(rules):
    video = floats(rules)
    with pytest.raises(UsageError, match="answers every frame as it comes"):
        FrozenStream(video, moving(1)[0])
    choice = optimize_stream(video, moving(1)[0])
    assert isinstance(choice.stream, Stream)
    assert "answers every frame as it comes" in choice.left_out
    assert choice.speedup == 1


def test_other_frames_are_an_error():
    video, clips = floats(RULES["inflate"]), moving(1)
    frozen = FrozenStream(video, clips[0])
    with pytest.raises(UsageError, match="the frame is"):
        frozen.step(moving(1, videos=2)[0])
    with pytest.raises(UsageError, match="float32"):
        FrozenStream(video.double(), clips[0].double())
    with pytest.raises(UsageError, match=r"call video.eval\(\) first"):
        optimize_stream(floats(RULES["inflate"]).train(), clips[0])


def test_the_quicker_one_is_taken_at_its_beginning():
    video, clips = floats(RULES["behind norm-act"]), moving(4)
    choice = optimize_stream(video, clips[0], turns=1)
    assert (choice.left_out == "") is isinstance(choice.stream, FrozenStream)
    check_alike(choice.stream, Stream(video), clips)


def test_one_that_answers_otherwise_is_left_out(monkeypatch):
    monkeypatch.setattr(
        frozen_stream,
        "packed",
        lambda made, *example: lambda *given: [made(*given)[0] + 1, *made(*given)[1:]],
    )
    choice = optimize_stream(floats(RULES["inflate"]), moving(1)[0], turns=1)
    assert "answers differ by" in choice.left_out
    assert isinstance(choice.stream, Stream)
    assert choice.stream.step(moving(1)[0]).frames_seen == 1  # at its beginning


@pytest.mark.slow
def test_rcn_is_frozen():
    video = drawn(create_model("rcn_18", classes=7, weights=None).float(), 0.1)
    clips = torch.randn(4, 1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    check_alike(FrozenStream(video, clips[0]), Stream(video), clips)
