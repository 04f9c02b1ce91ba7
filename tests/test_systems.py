"""Every named system: the papers' figures, options, weights, and that it learns."""

import dataclasses
from functools import cache

import pytest
import torch
from torch import nn

from timelift import create_model, list_models
from timelift.networks.weights import classifier_names
from timelift.records.errors import UsageError
from timelift.runs.verify import Figure, count, figures
from timelift.systems import PUBLISHED, SYSTEMS
from timelift.variants import build_variant

NAMES = list_models()


def one_a_family() -> list:
    """All systems; those beside the first of the functions that build them are for the slow tests."""
    seen: set = set()
    found = []
    for name in NAMES:
        build = SYSTEMS[name].build
        family = getattr(build, "func", build)
        found.append(pytest.param(name, marks=[pytest.mark.slow] if family in seen else [], id=name))
        seen.add(family)
    return found


def one_a_system() -> list:
    """All published rows; beside the first of each quick system they are for the slow tests."""
    quick = {param.values[0] for param in one_a_family() if not param.marks}
    found = []
    for row, published in enumerate(PUBLISHED):
        marks = [] if published.system in quick else [pytest.mark.slow]
        quick.discard(published.system)
        found.append(pytest.param(row, marks=marks, id=f"{published.system}-{row}"))
    return found


def small(name, classes=3, **options):
    """The system at the smallest clip that it declares for tests, from a fixed start."""
    system = SYSTEMS[name]
    torch.manual_seed(0)
    channels, frames, size = system.small[0], system.small[1], system.small[2]
    told = {"in_channels": channels, "frames": frames, "size": size}
    takes = {key: value for key, value in told.items() if key in system.takes}
    return create_model(name, **{"classes": classes} | takes | dict(system.small_options) | options)


def small_clip(name, clips=2):
    return torch.randn(clips, *SYSTEMS[name].small, generator=torch.Generator().manual_seed(1))


@cache
def found(row: int) -> tuple[Figure, ...]:
    return tuple(figures(PUBLISHED[row]))


@pytest.mark.parametrize("row", one_a_system())
def test_the_papers_figures_come_out(row):
    wrong = [figure for figure in found(row) if figure.verdict == "WRONG"]
    assert wrong == []
    assert found(row), "a published row without a figure"


def test_a_wrong_figure_is_seen():
    row = PUBLISHED[0]
    assert row.parameters is not None
    off = dataclasses.replace(row, parameters=row.parameters + 1, sizes={})
    assert [figure.verdict for figure in figures(off)] == ["WRONG"]
    assert [f.verdict for f in figures(dataclasses.replace(off, explained="two readings"))] == ["explained"]
    nowhere = dataclasses.replace(row, parameters=None, sizes={"no.such": (1, 1, 1)})
    assert [figure.ours for figure in figures(nowhere)] == ["no such module"]


@pytest.mark.parametrize("name", one_a_family())
def test_a_system_builds_without_weights_for_any_classes(name):
    with torch.device("meta"):
        model = create_model(name, classes=7)
    assert all(parameter.is_meta for parameter in model.parameters())
    last = model.image_net.get_submodule(classifier_names(model.image_net)[0])
    assert len(last.weight) == 7
    assert set(model.parameter_groups().values()) == {"new"}  # random as a whole
    assert model.receipt.notes[0] == "weights: random"
    assert sum(p.numel() for p in model.parameters()) == model.receipt.parameters_after


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_a_system_lacks_is_named(name):
    with pytest.raises(UsageError, match=rf"{name} has no option 'colour'; it has .*classes"):
        create_model(name, colour="red")


def test_an_unknown_system_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"no system 'i4d'; there are .*lenet5_3d"):
        create_model("i4d")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_system_trains_and_its_loss_falls(name):
    model, clip = small(name).train(), small_clip(name)
    labels = torch.tensor([0, 2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        torch.manual_seed(2)  # the same dropout masks at every step
        loss = nn.functional.cross_entropy(model(clip), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0], losses
    assert torch.isfinite(torch.tensor(losses)).all(), losses


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back_strictly_and_other_classes_drop_the_last_layer(name, tmp_path):
    model = small(name).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    state = model.state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pt")
    same = small(name, weights=tmp_path / "w.pt").eval()
    clip = small_clip(name, 1)
    with torch.no_grad():
        torch.testing.assert_close(same(clip), model(clip), rtol=0, atol=0)
    other = small(name, classes=5, weights=state)
    last = {f"image_net.{layer}." for layer in classifier_names(other.image_net)}
    for key, value in other.state_dict().items():
        if not any(key.startswith(layer) for layer in last):
            assert torch.equal(value, state[key]), key
    groups = other.parameter_groups()
    assert {key for key, group in groups.items() if group == "new"} == {
        key for key in groups if any(key.startswith(layer) for layer in last)
    }


@pytest.mark.parametrize("name", ["lenet5_3d"])
def test_weights_that_do_not_fit_name_every_key(name):
    state = dict(small(name).state_dict())
    gone = next(iter(state))
    del state[gone]
    with pytest.raises(UsageError, match=rf"1 key.* missing: {gone}"):
        small(name, weights=state)


def test_a_system_is_a_variant():
    model = build_variant("lenet5_3d(channels=(4, 6))", classes=4, in_channels=1, frames=16, size=20)
    assert model(torch.zeros(1, 1, 16, 20, 20)).shape == (1, 4)


def test_counting_is_that_of_one_clip():
    counted = count("lenet5_3d", {"channels": (4, 6)}, (1, 30, 28, 28))
    first = 4 * 1 * 125 * 30 * 28 * 28
    second = 6 * 4 * 125 * 11 * 10 * 10
    assert counted.multiply_adds == first + second + 6 * 125 * 120 + 120 * 84 + 84 * 10
