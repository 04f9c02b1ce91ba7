"""Overlapping clips of a stream: any network, answered as the clip of the last frames."""

import io

import pytest
import torch
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from timelift import Factorize, Gate, Inflate, MaxPool, Recur, SlidingClips, lift, named
from timelift.clip import Clipwise
from timelift.records import UsageError
from timelift.systems.compose import TimeToChannels, with_head
from timelift.testing import wake

RULES = {
    "on every frame": (),
    "from the first layer on": (Inflate(3),),
    "behind a pool": (MaxPool(3, 1, "valid") @ named("layer1"), MaxPool(2) @ named("layer2")),
    "in the second block": (Gate() @ named("layer2"), Recur("lstm", "random") @ named("layer2.conv1")),
    "strided": (Factorize(3, "both", start="random", stride="spatial") @ named("layer2.conv1"),),
}
FRAMES = 5


def network(rules):
    return lift(wake(seeded(Tiny), frames()), *rules).eval()


def stepped(stream, moving):
    return [stream.step(frame) for frame in moving.unbind(2)]


def check(video, every, clips=2):
    """The law: every so many frames, what the network answers to the clip of the last ones."""
    moving, stream = clip(4 + FRAMES + 2 * every, clips).double(), SlidingClips(video, FRAMES, every)
    assert stream.delay == FRAMES - 1
    for t, answer in enumerate(stepped(stream, moving)):
        assert answer.frames_seen == t + 1
        if t < FRAMES - 1:
            assert answer.clip_logits is answer.frame_logits is None
            continue
        end = FRAMES + (t + 1 - FRAMES) // every * every
        last = moving[:, :, end - FRAMES : end]
        torch.testing.assert_close(answer.clip_logits, video(last).detach())
        torch.testing.assert_close(answer.frame_logits, video.per_frame(last)[:, -1].detach())
        assert not answer.clip_logits.requires_grad


@pytest.mark.parametrize("every", [1, 2, 7])
@pytest.mark.parametrize("rules", RULES)
def test_the_last_frames_are_answered_as_the_clip_that_they_are(rules, every):
    check(network(RULES[rules]), every)


def test_heads_of_one_length_are_answered_too():
    features = lift(nn.Sequential(nn.Conv2d(3, 4, 3, 2)), Inflate(3), example=torch.zeros(1, 3, 9, 9))
    whole = Clipwise(TimeToChannels(FRAMES), "head.whole")
    head = nn.Sequential(whole, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4 * FRAMES, 3))
    check(with_head(features, head).double().eval(), 1, clips=1)


def test_before_time_each_frame_is_worked_on_once():
    video, numbers = network(RULES["in the second block"]), []
    stream, moving = SlidingClips(video, FRAMES, every=2), clip(9, clips=1).double()
    stepped(stream, moving[:, :, :FRAMES])
    video.image_net.conv1.register_forward_pre_hook(lambda _, given: numbers.append(len(given[0])))
    stepped(stream, moving[:, :, FRAMES:])
    assert numbers == [2, 1, 2, 1]  # two new frames, and one in whose place the clip goes on


def test_frames_that_no_clip_sees_are_not_worked_on():
    video, numbers = network(()), []
    stream, moving = SlidingClips(video, 2, every=6), clip(8, clips=1).double()
    stepped(stream, moving[:, :, :2])
    video.image_net.conv1.register_forward_pre_hook(lambda _, given: numbers.append(len(given[0])))
    answer = stepped(stream, moving[:, :, 2:])[-1]
    assert numbers == [2, 1]
    torch.testing.assert_close(answer.clip_logits, video(moving[:, :, 6:]).detach())


@pytest.mark.parametrize("rules", ["in the second block", "from the first layer on"])
def test_what_was_saved_goes_on(rules):
    video, moving = network(RULES[rules]), clip(9).double()
    whole = stepped(SlidingClips(video, FRAMES, 2), moving)
    for stop in (3, 6):
        first, second, file = SlidingClips(video, FRAMES, 2), SlidingClips(video, FRAMES, 2), io.BytesIO()
        stepped(first, moving[:, :, :stop])
        torch.save(first.state_dict(), file)
        stepped(first, moving[:, :, :2])
        file.seek(0)
        second.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(stepped(second, moving[:, :, stop:])[-1].clip_logits, whole[-1].clip_logits)
    with pytest.raises(UsageError, match="no state of clips"):
        second.load_state_dict({"weight": 1})


@pytest.mark.parametrize("rules", ["on every frame", "from the first layer on", "in the second block"])
def test_the_frame_that_came_may_be_written_over(rules):
    video, moving = network(RULES[rules]), clip(8).double()
    stream, place = SlidingClips(video, FRAMES), torch.empty_like(moving[:, :, 0])
    for frame in moving.unbind(2):
        answer = stream.step(place.copy_(frame))
        place.zero_()
    torch.testing.assert_close(answer.clip_logits, video(moving[:, :, 3:]).detach())
    stream.reset()
    assert stream.step(place).clip_logits is None


def test_a_step_that_fails_leaves_all_as_it_was():
    video, moving = network(RULES["in the second block"]), clip(7).double()
    stream = SlidingClips(video, FRAMES)
    stepped(stream, moving[:, :, :5])
    broken = video.image_net.layer2.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stream.step(moving[:, :, 5])
    broken.remove()
    torch.testing.assert_close(
        stepped(stream, moving[:, :, 5:])[-1].clip_logits, video(moving[:, :, 2:]).detach()
    )


def test_what_cannot_be_is_named():
    video = network(())
    with pytest.raises(UsageError, match=r"train mode.*eval"):
        SlidingClips(network(()).train(), 4)
    with pytest.raises(UsageError, match=r"0 frame.*at least 1"):
        SlidingClips(video, 0)
    stream = SlidingClips(video, 4)
    with pytest.raises(UsageError, match=r"a frame is \(B, C, H, W\)"):
        stream.step(clip(1).double())
    stream.step(clip(1).double()[:, :, 0])
    with pytest.raises(UsageError, match=r"those before it \(2, 3, 32, 32\): reset"):
        stream.step(clip(1, clips=1).double()[:, :, 0])
