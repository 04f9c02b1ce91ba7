"""The loop's parts against independent formulas."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from timelift.records import TimeliftError
from timelift.training.batchnorm import synchronised
from timelift.training.budget import budget_of
from timelift.training.distributed import Processes
from timelift.training.logs import ProgressEvent, in_words, progress_bar
from timelift.training.memory import is_out_of_memory, largest_fitting, naming_the_batch_that_fits
from timelift.training.mixup import draw_mix, mix_clips
from timelift.training.objective import loss_and_hits
from timelift.training.schedules import Plateau, after_epoch, rate_factor
from timelift.training.seeds import derive
from training_tiny import PLAIN, tiny_network, weights


def factors(steps_per_epoch: int, **changes) -> np.ndarray:
    choices = dataclasses.replace(PLAIN, **changes)
    budget = budget_of(choices, steps_per_epoch)
    return np.array([rate_factor(choices, s, budget) for s in range(budget.steps)])


def test_constant_is_constant():
    assert (factors(3, epochs=4) == 1).all()


def test_step_falls_at_its_epochs():
    got = factors(3, epochs=5, schedule="step", step_epochs=2, step_factor=0.1)
    assert got == pytest.approx(np.repeat([1, 1, 0.1, 0.1, 0.01], 3))


@pytest.mark.parametrize("warmup", [0.0, 1.0, 1.5])
def test_cosine_is_torchs_after_a_linear_warm_up(warmup):
    per_epoch, epochs = 4, 5
    got = factors(per_epoch, epochs=epochs, schedule="cosine", warmup_epochs=warmup)
    rising = int(warmup * per_epoch)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=per_epoch * epochs - rising)
    oracle = [(i + 1) / rising for i in range(rising)]
    while len(oracle) < len(got):
        oracle.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    assert got == pytest.approx(np.array(oracle))


def test_warm_up_rises_in_every_schedule_and_may_take_a_part_of_an_epoch():
    assert factors(4, epochs=1, warmup_epochs=0.5) == pytest.approx([0.5, 1, 1, 1])
    assert factors(4, epochs=1, warmup_epochs=2, schedule="cosine") == pytest.approx(
        [1 / 8, 2 / 8, 3 / 8, 4 / 8]
    )


@pytest.mark.parametrize("steps", [1, 4, 5, 12])
def test_a_budget_of_steps_ends_the_cosine_where_it_ends(steps):
    got = factors(4, epochs=99, steps=steps, schedule="cosine", warmup_epochs=0)
    assert got == pytest.approx(0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps)))


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (4, 1), (5, 2), (12, 3)])
def test_a_budget_of_steps_cuts_the_last_epoch(steps, epochs):
    budget = budget_of(dataclasses.replace(PLAIN, steps=steps), steps_per_epoch=4)
    assert budget.epochs == epochs
    assert sum(budget.steps_of(epoch) for epoch in range(1, epochs + 1)) == steps
    assert all(budget.steps_of(epoch) == 4 for epoch in range(1, epochs))


def test_plateau_waits_its_patience_and_starts_again():
    choices = dataclasses.replace(PLAIN, plateau_patience=2, step_factor=0.5)
    plateau, got = Plateau(), []
    for better in (True, False, True, False, False, False, False, False):
        plateau = after_epoch(plateau, better, choices)
        got.append(plateau.factor)
    assert got == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_mixup_draws_a_beta_and_mixes_as_a_loop_does():
    shares = [draw_mix(2, 0.4, seed=0, epoch=1, batch=b).share for b in range(2000)]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    mix = draw_mix(5, 0.4, seed=0, epoch=1, batch=3)
    again = draw_mix(5, 0.4, seed=0, epoch=1, batch=3)
    assert mix.share == again.share
    assert torch.equal(mix.partner, again.partner)
    clips = torch.rand(5, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mixed = mix_clips(clips, mix)
    for i, partner in enumerate(mix.partner.tolist()):
        torch.testing.assert_close(mixed[i], mix.share * clips[i] + (1 - mix.share) * clips[partner])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_mixed_loss_is_cross_entropy_with_mixed_targets(smoothing):
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    mix = draw_mix(6, 1.0, seed=1, epoch=1, batch=0)
    hot = nn.functional.one_hot(labels, 4).float() * (1 - smoothing) + smoothing / 4
    target = mix.share * hot + (1 - mix.share) * hot[mix.partner]
    loss, hits = loss_and_hits(logits, labels, smoothing, mix)
    torch.testing.assert_close(loss, -(target * logits.log_softmax(1)).sum())
    right = (logits.argmax(1) == labels).float(), (logits.argmax(1) == labels[mix.partner]).float()
    torch.testing.assert_close(hits, mix.share * right[0].sum() + (1 - mix.share) * right[1].sum())


def test_derived_seeds_differ_by_purpose_and_stay_the_same():
    assert derive(0, "order", 1) == 7021862330116196507
    assert len({derive(s, p, e) for s in range(20) for p in ("order", "mixup") for e in range(20)}) == 800


def fits(limit: int, tried: list[int]):
    def attempt(batch: int) -> None:
        tried.append(batch)
        if batch > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    return attempt


@pytest.mark.parametrize(("limit", "found"), [(9, 4), (3, 2), (1, 1), (0, 0)])
def test_halves_are_tried_until_one_fits(limit, found):
    tried: list[int] = []
    assert largest_fitting(fits(limit, tried), 8, smallest=1) == found
    assert tried == [4, 2, 1][: len(tried)]


def test_nothing_fits_is_said():
    choices = dataclasses.replace(PLAIN, batch_size=4)
    with (
        pytest.raises(TimeliftError, match="nor does a batch of 2: use fewer frames or a smaller size"),
        naming_the_batch_that_fits(fits(0, []), choices, 2, torch.device("cpu")),
    ):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")


def test_other_errors_are_not_about_memory():
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert is_out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")
    )


def test_batch_norm_is_synchronised_only_for_the_time_of_training():
    model = tiny_network("batch")
    own, before = model[1], weights(model)
    with synchronised(model, Processes(0, 2), torch.device("cuda")):
        assert type(model[1]) is nn.SyncBatchNorm
        assert model[1].weight is own.weight
        model[1].running_mean.add_(1)
    assert model[1] is own
    torch.testing.assert_close(own.running_mean, before["1.running_mean"] + 1)
    with synchronised(model, Processes(), torch.device("cuda")):
        assert model[1] is own


def test_progress_in_words():
    event = ProgressEvent(3, 20, 5, 10, 1.2345, 0.5614, 0.1, 0.48, 2)
    assert in_words(event) == "epoch 3/20 · loss 1.234 · training 56.1% · validation 48.0% (best: epoch 2)"
    assert "validation" not in in_words(ProgressEvent(1, 20, 5, 10, 1.2345, 0.5614, 0.1))


def test_the_bar_ends_full(capsys):
    with progress_bar("training") as show:
        for step in (1, 2):
            show(ProgressEvent(1, 1, step, 2, 1.0, math.pi / 4, 0.1))
    assert "epoch 1/1 · loss 1.000 · training 78.5%" in capsys.readouterr().out
