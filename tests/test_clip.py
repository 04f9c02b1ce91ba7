"""fold, unfold and the scope that says how many clips the frames belong to."""

import pytest
import torch
from torch import nn
from torch._prims_common import suggest_memory_format
from torch.utils._python_dispatch import TorchDispatchMode

from timelift import create_model
from timelift.clip import (
    ClipBatch,
    Clipwise,
    Framewise,
    OnFrames,
    channels_last,
    fold,
    fold_places,
    unfold,
    unfold_places,
)


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


def is_known_channels_last(tensor):
    """Whether its strides are those that PyTorch itself gives this layout, of dimensions of size 1 too."""
    layout = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
    return tensor.stride() == torch.empty(tensor.shape, memory_format=layout).stride()


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("size", [1, 4])
def test_every_view_of_a_channels_last_clip_is_known_as_such(clips, length, size):
    clip = channels_last(torch.randn(clips, 5, length, size, size + 1))
    for view in (clip, fold(clip), unfold(fold(clip), clips), fold_places(clip)):
        assert is_known_channels_last(view)
        assert view.data_ptr() == clip.data_ptr()
    again = unfold_places(fold_places(clip), size, size + 1)
    assert is_known_channels_last(again)
    assert torch.equal(again, clip)
    assert torch.equal(fold_places(clip), clip.flatten(3))


class Layouts(TorchDispatchMode):
    """Notes which convolutions and pools get maps in another layout."""

    def __init__(self):
        super().__init__()
        self.seen, self.others = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in ("convolution", "max_pool2d")):
            self.seen += 1
            if suggest_memory_format(args[0]) == torch.contiguous_format:
                self.others.append((func, args[0].shape, args[0].stride()))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("system", ["r2plus1d_18", "s3d", "p3d_63", "rcn_18"])
def test_maps_stay_channels_last_through_a_network(system, clips):
    video = create_model(system, classes=3, weights=None).eval()
    with torch.no_grad(), Layouts() as layouts:
        video(torch.randn(clips, 3, 16, 64, 64))
    assert layouts.seen > 15
    assert not layouts.others
