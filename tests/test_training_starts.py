"""The same start for every variant where shapes agree: the protocol of a paired comparison."""

import pytest
import torch
from torch import nn

from timelift.training.starts import paired_start, start_digest
from timelift.variants import build_variant

LENETS = (
    "lenet5_3d(channels=(4, 6))",
    "lenet5_3d(channels=(4, 6), start='normal')",
    "lenet5_3dttn(channels=(4, 6))",
    "lenet5_3dttn(channels=(4, 6), shared=True, start='kaiming')",
)
LIFTED = tuple(
    f"timm:resnet10t(weights=None) {rules}"
    for rules in (
        "Inflate(3) @ first(1)",
        "Inflate(3)",
        "Inflate(3, 'random')",
        "Factorize(3)",
        "Transform(3, start='normal')",
    )
)


def built(variant: str, seed: int) -> nn.Module:
    with paired_start(seed):
        return build_variant(variant, classes=3, in_channels=1, frames=12, size=12)


@pytest.mark.parametrize(("variants", "head"), [(LENETS, "fc"), (LIFTED, "fc")], ids=["lenets", "lifted"])
def test_shared_layers_start_alike_in_every_variant(variants, head):
    first, *others = (dict(built(variant, 3).named_parameters()) for variant in variants)
    for other in others:
        shared = [name for name in first if name in other and first[name].shape == other[name].shape]
        assert any(head in name for name in shared)
        for name in shared:
            if head in name or ".conv" not in name:
                assert torch.equal(first[name], other[name]), name


@pytest.mark.parametrize("variant", [*LENETS, LIFTED[2]])
def test_a_start_is_its_seeds_and_no_others(variant):
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    one, again, other = built(variant, 0), built(variant, 0), built(variant, 1)
    assert torch.equal(torch.rand(4), expected)  # the generator is given back as it was
    assert start_digest(one) == start_digest(again) != start_digest(other)


def test_layers_of_one_shape_start_differently():
    with paired_start(0):
        one, two = nn.Linear(5, 5), nn.Linear(5, 5)
        drawn, more = torch.randn(5, 5), torch.randn_like(one.weight)
    tensors = [one.weight, two.weight, drawn, more]
    assert all(not torch.equal(a, b) for i, a in enumerate(tensors) for b in tensors[:i])


def test_draws_are_as_distributed_as_ever():
    with paired_start(5):
        normal = torch.stack([torch.empty(50).normal_() for _ in range(400)])
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert abs(torch.corrcoef(normal)[0, 1:].mean()) < 0.03  # a draw says nothing about the next


def test_a_draw_with_its_own_generator_is_left_alone():
    expected = torch.rand(6, generator=torch.Generator().manual_seed(2))
    with paired_start(0):
        assert torch.equal(torch.rand(6, generator=torch.Generator().manual_seed(2)), expected)


def test_the_digest_is_of_names_shapes_and_values():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    whole = start_digest(model)
    for tensor in model.state_dict().values():
        kept = tensor.clone()
        tensor.view(-1)[-1] += 1
        assert start_digest(model) != whole
        tensor.copy_(kept)
    assert start_digest(model) == whole
    assert start_digest(nn.ModuleDict({"a": model[0], "b": model[1]})) != whole
    model[0].weight.data = model[0].weight.data.reshape(2, 3)
    assert start_digest(model) != whole
