"""A frozen group: bytes unchanged, buffers too, until the thaw; its optimiser state is born there."""

import pytest
import torch
from torch import nn

from timelift.training import checkpoint
from timelift.training.freeze import buffer_owners, frozen_groups
from timelift.training.groups import build_optimizer, is_norm_or_bias
from training_tiny import GROUPS, TinyClips, run, same_bytes, tiny_network, weights

KEPT = [name for name, group in GROUPS.items() if group == "kept"] + ["1.running_mean", "1.running_var"]


def after_each_step(tmp_path, **changes):
    """The network's tensors after every optimiser step (two an epoch), the first entry before any."""
    model = tiny_network("batch")
    seen = [weights(model)]
    run(tmp_path, model, progress=lambda event: seen.append(weights(model)), weight_decay=0.1, **changes)
    return seen[:3] + seen[4:6]  # the event at an epoch's end repeats its last step


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_frozen_bytes_change_at_the_thaw_and_not_before(tmp_path, optimizer, accumulate):
    clips = TinyClips(8 * accumulate)
    seen = after_each_step(
        tmp_path,
        optimizer=optimizer,
        accumulate=accumulate,
        clips=clips,
        freeze_kept_steps=3,
        decay_norms_and_biases=True,
        ema=0.9,
    )
    for name in KEPT:
        assert all(torch.equal(now[name], seen[0][name]) for now in seen[:4]), name
        assert not torch.equal(seen[4][name], seen[3][name]), name
    assert int(seen[4]["1.num_batches_tracked"]) == accumulate
    assert not torch.equal(seen[1]["0.weight"], seen[0]["0.weight"])  # the lifted group learns meanwhile


def test_pretrained_statistics_stay_while_their_scales_learn(tmp_path):
    seen = after_each_step(tmp_path, norm_statistics="pretrained")
    for statistic in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(seen[-1][statistic], seen[0][statistic])
    assert not torch.equal(seen[1]["1.weight"], seen[0]["1.weight"])
    model = tiny_network("batch")
    run(tmp_path / "new", model, groups=dict.fromkeys(GROUPS, "new"), norm_statistics="pretrained")
    assert model[1].num_batches_tracked == 4  # not a pretrained network's: these are learnt


def test_groups_thaw_apart(tmp_path):
    seen = after_each_step(tmp_path, freeze_kept_steps=1, freeze_lifted_steps=3)
    assert torch.equal(seen[3]["0.weight"], seen[0]["0.weight"])
    assert not torch.equal(seen[4]["0.weight"], seen[3]["0.weight"])
    assert not torch.equal(seen[2]["1.weight"], seen[1]["1.weight"])
    assert not torch.equal(seen[1]["6.weight"], seen[0]["6.weight"])


def test_optimiser_state_is_born_at_the_thaw(tmp_path):
    run(tmp_path, optimizer="adamw", epochs=3, freeze_kept_steps=4)
    state = torch.load(tmp_path / checkpoint.NAME, weights_only=True)["optimizer"]
    steps = {group["name"]: [] for group in state["param_groups"]}
    for group in state["param_groups"]:
        steps[group["name"]] += [int(state["state"][index]["step"]) for index in group["params"]]
    assert steps == {"new": [6, 6], "lifted": [6], "kept": [2, 2, 2]}
    run(tmp_path / "never", optimizer="adamw", epochs=3, freeze_kept_steps=99)
    state = torch.load(tmp_path / "never" / checkpoint.NAME, weights_only=True)["optimizer"]
    kept = {i for group in state["param_groups"] if group["name"] == "kept" for i in group["params"]}
    assert kept
    assert not kept & set(state["state"])


def test_before_the_thaw_the_rest_trains_as_if_the_group_could_not_learn(tmp_path):
    """Until then nothing else differs: as if the group could not learn at all."""
    frozen, _ = run(tmp_path / "a", optimizer="adamw", epochs=1, freeze_kept_steps=2)
    by_hand = tiny_network()
    for name, parameter in by_hand.named_parameters():
        parameter.requires_grad_(GROUPS[name] != "kept")
    run(tmp_path / "b", by_hand, optimizer="adamw", epochs=1)
    assert same_bytes(weights(frozen), weights(by_hand))


def test_gradients_are_allowed_again_when_training_is_over(tmp_path):
    model, _ = run(tmp_path, freeze_kept_steps=99)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_log_shows_a_frozen_groups_rate_as_zero(tmp_path):
    _, result = run(tmp_path, epochs=2, freeze_kept_steps=2)
    assert [row.learning_rate_kept for row in result.history] == [0.0, 0.1]


def test_frozen_groups_end_at_their_step():
    import dataclasses

    from training_tiny import PLAIN

    choices = dataclasses.replace(PLAIN, freeze_kept_steps=2, freeze_lifted_steps=1)
    assert [sorted(frozen_groups(choices, taken)) for taken in range(3)] == [["kept", "lifted"], ["kept"], []]


def test_a_norm_without_parameters_belongs_to_what_is_around_it():
    block = nn.Sequential(nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1, affine=False))
    net = nn.Sequential(
        block, nn.Sequential(nn.BatchNorm1d(1, affine=False)), nn.Linear(1, 2), nn.BatchNorm1d(2)
    )
    groups = {"0.0.weight": "lifted", "0.0.bias": "lifted", "2.weight": "new", "2.bias": "new"}
    groups |= {"3.weight": "new", "3.bias": "new"}
    assert buffer_owners(net, groups) == {"0.1": "lifted", "1.0": "kept", "3": "new"}


def test_norms_and_biases_are_told_from_weights():
    net = nn.ModuleDict(
        {
            "conv": nn.Conv3d(1, 2, 3),
            "layer": nn.LayerNorm((2, 3, 3)),
            "group": nn.GroupNorm(1, 2),
            "linear": nn.Linear(2, 2),
        }
    )
    told = {
        f"{name}.{part}": is_norm_or_bias(module, f"{name}.{part}", parameter)
        for name, module in net.items()
        for part, parameter in module.named_parameters()
    }
    assert {name for name, is_one in told.items() if not is_one} == {"conv.weight", "linear.weight"}


def test_optimiser_groups_hold_every_parameter_once():
    from training_tiny import PLAIN

    model = tiny_network()
    optimizer = build_optimizer(model, GROUPS, PLAIN)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
