"""TokenConv and its place: the laws of conversions on tokens, and networks on tokens awake."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from heart_tiny import Tiny, clip, frames, seeded
from timelift import ConversionError, Inflate, TokenConv, image_network, lift, named, parse_variant, tokens
from timelift.clip import ClipBatch, Tokenwise, fold_tokens, unfold_tokens
from timelift.conversions.tokens import norm_width
from timelift.deploy.stream import Stream
from timelift.networks.images import import_timm
from timelift.networks.trace import trace
from timelift.records.errors import UsageError
from timelift.testing import wake

EVERY = [
    TokenConv(frames, start, causal, padding)
    for frames, start, causal, padding in itertools.product(
        (1, 2, 3, 5), ("identity", "random"), (False, True), ("replicate", "zeros")
    )
]


class Affine(nn.Module):
    """ResMLP's norm: a scale and a shift of shape (1, 1, D)."""

    def __init__(self, width):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, x):
        return self.beta + self.alpha * x


NORMS = {
    "LayerNorm": lambda: nn.LayerNorm(6),
    "without bias": lambda: nn.LayerNorm(6, bias=False),
    "without weights": lambda: nn.LayerNorm(6, elementwise_affine=False),
    "RMSNorm": lambda: nn.RMSNorm(6),
    "Affine": lambda: Affine(6),
}
SHAPES = [(5, 6), (3, 4, 6)]  # tokens (N, D), and maps with channels last (H, W, D)
every_conversion = pytest.mark.parametrize("conversion", EVERY, ids=repr)


def token_clip(length, shape=(5, 6), clips=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clips, length, *shape, generator=generator, dtype=torch.float64)


def drawn(module, amount=0.3, seed=3):
    """Something random added to every parameter: an identity start would hide a leak."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=amount)
    return module


def on_frames(norm, clip):
    return norm(clip.flatten(0, 1)).unflatten(0, clip.shape[:2])


def oracle(norm, weight, conversion, clip):
    """PyTorch's depthwise convolution over the padded line of frames of every token."""
    line = on_frames(norm, clip).movedim(1, -1).flatten(1, -3).flatten(0, 1)  # (B*N, D, T)
    before = conversion.frames - 1 if conversion.causal else (conversion.frames - 1) // 2
    ends = (before, conversion.frames - 1 - before)
    line = F.pad(line, ends, **({"mode": "replicate"} if conversion.padding == "replicate" else {}))
    answer = F.conv1d(line, weight.unsqueeze(1), groups=len(weight))
    return answer.reshape(len(clip), *clip.shape[2:], clip.shape[1]).movedim(-1, 1)


@every_conversion
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("length", [1, 2, 7])
def test_it_is_a_depthwise_convolution_through_time_behind_the_norm(conversion, shape, length):
    norm = drawn(nn.LayerNorm(6).double())
    made = conversion(norm)
    with torch.no_grad():
        made.weight.copy_(torch.randn(6, conversion.frames, generator=torch.Generator().manual_seed(1)))
    given = token_clip(length, shape)
    torch.testing.assert_close(made(given), oracle(norm, made.weight, conversion, given))


@every_conversion
@pytest.mark.parametrize("name", NORMS)
def test_what_a_conversion_promises_holds(conversion, name):
    norm = drawn(NORMS[name]().double())
    before = {key: tensor.clone() for key, tensor in norm.state_dict().items()}
    made = conversion(norm).double()
    for length in (1, 4):
        given = token_clip(length)
        assert made(given).shape == given.shape
        if "identity_start" in conversion.keeps:
            assert torch.equal(made(given), on_frames(norm, given))
    still = token_clip(1).expand(-1, 5, -1, -1)
    assert conversion.start != "identity" or torch.equal(made(still), on_frames(norm, still))
    drawn(made)
    given = token_clip(6)
    later = given.clone()
    later[:, 4:] += 1
    moved = (made(given) != made(later)).flatten(2).any(-1).any(0)
    assert ("causal" in conversion.keeps) == (not moved[:4].any())
    assert moved[4:].all()
    assert all(torch.equal(tensor, before[key]) for key, tensor in norm.state_dict().items())


@every_conversion
def test_every_weight_learns_and_is_read_again(conversion):
    made = drawn(conversion(nn.LayerNorm(6).double()))
    given = token_clip(6)
    (made(given) * token_clip(6, seed=1)).sum().backward()
    for parameter in made.parameters():
        assert parameter.grad.abs().min() > 0
    other = drawn(conversion(nn.LayerNorm(6).double()), seed=9)
    other.load_state_dict(made.state_dict(), strict=True)
    assert torch.equal(other(given), made(given))


@pytest.mark.parametrize("conversion", [c for c in EVERY if c.causal], ids=repr)
@pytest.mark.parametrize("pieces", [(1,) * 7, (7,), (3, 1, 1, 2)], ids=str)
def test_pieces_of_a_clip_give_what_the_whole_clip_gives(conversion, pieces):
    made = drawn(conversion(nn.LayerNorm(6).double()))
    given, state, answers = token_clip(7), None, []
    for piece in given.split(pieces, dim=1):
        answer, state = made.advance(piece, state)
        answers.append(answer)
    torch.testing.assert_close(torch.cat(answers, dim=1), made(given))


def test_what_looks_ahead_does_not_stream():
    with pytest.raises(ConversionError, match="causal=True"):
        TokenConv(2)(nn.LayerNorm(6)).advance(token_clip(1), None)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_folding_tokens_is_a_view_and_keeps_their_order(shape):
    given = token_clip(3, shape)
    folded = fold_tokens(given)
    assert folded.data_ptr() == given.data_ptr()
    assert torch.equal(unfold_tokens(folded, 2), given)
    assert torch.equal(folded[4], given[1, 1])
    with pytest.raises(ValueError, match="6 frames do not divide into 4 clips"):
        unfold_tokens(folded, 4)
    made = Tokenwise(TokenConv()(nn.LayerNorm(6).double()), "norm")
    with pytest.raises(RuntimeError, match="norm was called outside a VideoModel"):
        made(folded)
    with ClipBatch(4), pytest.raises(ValueError, match="do not divide"):
        made(folded)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"frames": 0}, "at least 1"),
        ({"start": "zero"}, "identity and random"),
        ({"padding": "same"}, "replicate and zeros"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, words):
    with pytest.raises(ConversionError, match=words):
        TokenConv(**fields)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 6, 3),
        nn.Linear(6, 6),
        nn.BatchNorm1d(6),
        nn.LayerNorm((4, 6)),
        nn.GELU(),
        nn.Linear(6, 1),
    ],
    ids=repr,
)
def test_other_layers_are_refused_and_the_place_is_named(layer):
    assert norm_width(layer) is None
    with pytest.raises(ConversionError, match=r"TokenConv\(\) @ tokens"):
        TokenConv()(layer)


def test_without_its_place_the_error_names_it():
    with pytest.raises(ConversionError, match=r"conv1 is a Conv2d.*TokenConv\(\) @ tokens"):
        lift(seeded(Tiny), TokenConv())
    with pytest.raises(UsageError, match="matches nothing"):
        lift(seeded(Tiny), TokenConv() @ tokens)


class Attention(nn.Module):
    """With norms of its own, on queries (N, 1, L, D) and inside."""

    def __init__(self, width):
        super().__init__()
        self.q_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(self.q_norm(x.unsqueeze(1)).squeeze(1))


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of a map (N, C, H, W)."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class TokenNetwork(nn.Module):
    """One norm of each kind, registered in no order, with windows folded into the first dimension."""

    def __init__(
        self, width=4
    ):  # as the maps are wide: only its class tells LayerNorm2d from a norm on tokens
        super().__init__()
        self.head = nn.Linear(width, 5)
        self.head_norm, self.windows_norm, self.twice_norm = (nn.LayerNorm(width) for _ in range(3))
        self.last_norm, self.maps_norm, self.tokens_norm = (nn.LayerNorm(width) for _ in range(3))
        self.first_norm = LayerNorm2d(width)
        self.table_norm = nn.LayerNorm(width)
        self.table = nn.Parameter(torch.randn(1, 16, width))
        self.attention = Attention(width)
        self.patch = nn.Conv2d(3, width, 8, stride=8)
        self.mix = nn.Linear(16, 16)

    def forward(self, x):
        maps = self.maps_norm(self.first_norm(self.patch(x)).movedim(1, -1))  # (N, 4, 4, 4)
        rows = self.windows_norm(maps.flatten(0, 1))  # (N*4, 4, 4)
        x = self.tokens_norm(rows.reshape(len(maps), 16, -1)) + self.table_norm(self.table)
        x = x + self.attention(x) + self.mix(x.mT).mT
        x = self.last_norm(self.twice_norm(x) + self.twice_norm(x.relu()))
        return self.head(self.head_norm(x.mean(1)))


@pytest.mark.parametrize("example", [1, 3])
def test_tokens_are_the_norms_of_the_trunk_that_see_whole_frames(example):
    layers, ran = trace(seeded(TokenNetwork), torch.zeros(example, 3, 32, 32))
    assert len(ran) == example
    assert [layer.name for layer in tokens.choose(layers)] == ["maps_norm", "tokens_norm", "last_norm"]
    sizes = {layer.name: (layer.input_size, layer.output_size) for layer in layers if layer.tokens}
    assert sizes["maps_norm"] == ((4, 4), (4, 4))
    assert sizes["tokens_norm"] == ((16, 1), (16, 1))


def test_the_receipt_tells_the_norm_from_what_is_new():
    net = seeded(TokenNetwork)
    video = lift(net, TokenConv(3) @ named("last_norm"), Inflate(3))
    rows = {row.layer: row for row in video.receipt.converted}
    assert list(rows) == ["patch", "last_norm"]
    row = rows["last_norm"]
    assert (row.kept, row.lifted, row.new) == (("norm.weight", "norm.bias"), ("weight",), ())
    assert row.parameters_after - row.parameters_before == 4 * 3
    assert video.parameter_groups()["image_net.last_norm.on_clips.weight"] == "lifted"
    assert lift(net, TokenConv(3, "random") @ tokens).receipt.converted[0].new == ("weight",)


def built(kind, **options):
    return seeded(lambda: getattr(import_timm().models, kind)(num_classes=5, **options))


NETWORKS = {
    "vit": lambda: built(
        "VisionTransformer", img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, qk_norm=True
    ),
    "swin": lambda: built(
        "SwinTransformer",
        img_size=32,
        patch_size=2,
        window_size=4,
        embed_dim=12,
        depths=(2, 2),
        num_heads=(2, 2),
    ),
    "swin v2": lambda: built(
        "SwinTransformerV2",
        img_size=32,
        patch_size=2,
        window_size=4,
        embed_dim=12,
        depths=(2, 1),
        num_heads=(2, 2),
    ),
    "mixer": lambda: built("MlpMixer", img_size=32, patch_size=8, num_blocks=2, embed_dim=24),
    "resmlp": lambda: built(
        "MlpMixer",
        img_size=32,
        patch_size=8,
        num_blocks=2,
        embed_dim=24,
        mlp_ratio=4,
        block_layer=import_timm().models.mlp_mixer.ResBlock,
        norm_layer=import_timm().models.mlp_mixer.Affine,
    ),
}
STEPS = {"vit": 5, "swin": 11, "swin v2": 9, "mixer": 5, "resmlp": 5}


def woken(name):
    """Mixer's head starts at zero."""
    net = NETWORKS[name]()
    if name in ("mixer", "resmlp"):
        nn.init.normal_(net.head.weight, generator=torch.Generator().manual_seed(2))
    return wake(net, frames(4))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_tokens_awake(name):
    net, given = woken(name), clip(4).double()
    plain = lift(net, TokenConv() @ tokens).eval()
    assert len(plain.receipt.converted) == STEPS[name]
    assert not [row for row in plain.receipt.converted if "attn" in row.layer]
    with torch.no_grad():
        alone = net(given.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 4))
        torch.testing.assert_close(plain.per_frame(given), alone, rtol=1e-10, atol=1e-10)

        for step in (module for module in plain.modules() if isinstance(module, Tokenwise)):
            kept = step.on_clips.weight.clone()
            step.on_clips.weight.copy_(kept.roll(1, dims=1))  # every token of the frame behind
            assert (plain.per_frame(given) - alone).abs().max() > 1e-3 * alone.abs().max(), step.name
            step.on_clips.weight.copy_(kept)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_tokens_do_not_look_ahead_and_stream(name):
    video = drawn(lift(woken(name), TokenConv(causal=True) @ tokens).eval(), 0.1)
    given = clip(4).double()
    later = given.clone()
    later[:, :, 2:] += 1
    with torch.no_grad():
        before, after = video.per_frame(given), video.per_frame(later)
        torch.testing.assert_close(before[:, :2], after[:, :2], rtol=1e-10, atol=1e-10)
        assert ((before - after)[:, 2:].abs() > 1e-6).any(-1).all()
        alone = video.per_frame(given[:, :, 3:])
        assert (before[:, 3:] - alone).abs().max() > 1e-6  # the past is felt
    stream = Stream(video)
    stepped = torch.stack([stream.step(frame).frame_logits for frame in given.unbind(2)], dim=1)
    torch.testing.assert_close(stepped, before, rtol=1e-10, atol=1e-10)


@every_conversion
def test_it_is_typed_on_the_command_line(conversion):
    text = f"timm:vit_tiny_patch16_224(weights=None) {conversion!r} @ tokens"
    assert str(parse_variant(text)) == text
    assert parse_variant(text).rules == (conversion @ tokens,)


def test_an_image_network_of_timm_by_its_name():
    net = image_network("timm:vit_tiny_patch16_224", weights=None)
    video = lift(net, TokenConv() @ tokens)
    assert [row.layer for row in video.receipt.converted][-2:] == ["blocks.11.norm2", "norm"]
    assert len(video.receipt.converted) == 25
