"""fold, unfold and the scope that says how many clips the frames belong to."""

import pytest
import torch
from torch import nn

from timelift.clip import ClipBatch, Clipwise, Framewise, OnFrames, fold, unfold


def test_frames_of_a_clip_are_in_order_of_time_clip_by_clip():
    clip = torch.randn(2, 3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    frames = fold(clip)
    for b in range(2):
        for t in range(5):
            assert torch.equal(frames[b * 5 + t], clip[b, :, t])


@pytest.mark.parametrize("length", [1, 2, 7])
def test_unfold_undoes_fold_and_is_a_view(length):
    clip = torch.randn(3, 2, length, 4, 5, generator=torch.Generator().manual_seed(0))
    frames = fold(clip)
    again = unfold(frames, 3)
    assert torch.equal(again, clip)
    assert again.data_ptr() == frames.data_ptr()


def test_folding_a_channels_last_clip_copies_nothing_and_the_frames_are_channels_last():
    clip = torch.randn(2, 3, 5, 4, 6).contiguous(memory_format=torch.channels_last_3d)
    frames = fold(clip)
    assert frames.data_ptr() == clip.data_ptr()
    assert frames.is_contiguous(memory_format=torch.channels_last)
    assert unfold(frames, 2).is_contiguous(memory_format=torch.channels_last_3d)


def test_frames_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="7 frames do not divide into 2 clips"):
        unfold(torch.zeros(7, 1, 1, 1), 2)


def test_a_converted_layer_outside_a_video_model_names_itself():
    layer = Clipwise(OnFrames(nn.Conv2d(1, 1, 1)), "stem.conv")
    with pytest.raises(RuntimeError, match=r"stem\.conv was called outside a VideoModel"):
        layer(torch.zeros(4, 1, 2, 2))


def test_the_scope_nests_and_is_restored_on_error():
    layer = Clipwise(_Lengths(), "layer")
    frames = torch.zeros(12, 1, 2, 2)

    def length():
        return layer(frames).unique().item()

    def fails_inside():
        with ClipBatch(3):
            assert length() == 4
            raise KeyError

    with ClipBatch(2):
        assert length() == 6
        with pytest.raises(KeyError):
            fails_inside()
        assert length() == 6
    with pytest.raises(RuntimeError, match="outside"):
        length()


class _Lengths(nn.Module):
    def forward(self, clip):
        return torch.full_like(clip, clip.shape[2])


def test_framewise_is_the_layer_on_every_frame():
    conv = nn.Conv2d(2, 3, 3, stride=2)
    clip = torch.randn(2, 2, 4, 7, 5, generator=torch.Generator().manual_seed(0))
    answer = Framewise()(conv)(clip)
    for t in range(4):
        torch.testing.assert_close(answer[:, :, t], conv(clip[:, :, t]))
