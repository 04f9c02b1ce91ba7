"""Laws of the whole training loop, on a tiny network."""

import copy
import csv
import dataclasses
import time

import numpy as np
import pytest
import torch
from torch import nn

from timelift.records import DataError, TimeliftError, UsageError
from timelift.training.order import epoch_batches
from timelift.training.seeds import generator
from training_tiny import GROUPS, PLAIN, TinyClips, evenly, normalise, run, same_bytes, tiny_network, weights


def close(model, other):
    torch.testing.assert_close(weights(model), weights(other), rtol=1e-5, atol=1e-6)


def by_hand(optimizer_of, epochs=2, batch=4, clips=8, smoothing=0.0):
    """The oracle: the textbook loop, written without the library."""
    model, data = tiny_network(), TinyClips(clips)
    optimizer = optimizer_of(model)
    for epoch in range(1, epochs + 1):
        data.set_epoch(epoch)
        order = torch.randperm(clips, generator=generator(5, "order", epoch)).tolist()
        for start in range(0, clips, batch):
            pairs = [data[i] for i in order[start : start + batch]]
            logits = model(normalise(torch.stack([clip for clip, _ in pairs])))
            target = nn.functional.one_hot(torch.tensor([label for _, label in pairs]), 3).float()
            target = target * (1 - smoothing) + smoothing / 3
            loss = -(target * logits.log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def test_sgd_is_the_textbook_loop(tmp_path):
    model, _ = run(tmp_path, label_smoothing=0.2, weight_decay=0.01, decay_norms_and_biases=True)
    oracle = by_hand(
        lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01), smoothing=0.2
    )
    close(model, oracle)
    assert not same_bytes(weights(model), weights(tiny_network()))


def test_adamw_with_group_rates_and_no_decay_on_norms_and_biases(tmp_path):
    def adamw(model):
        rate = {"new": 1.0, "lifted": 0.5, "kept": 0.25}
        return torch.optim.AdamW(
            [
                {"params": [p], "lr": 0.01 * rate[GROUPS[n]], "weight_decay": 0.3 if p.ndim > 1 else 0.0}
                for n, p in model.named_parameters()
            ]
        )

    model, _ = run(
        tmp_path, optimizer="adamw", learning_rate=0.01, lifted_rate=0.5, kept_rate=0.25, weight_decay=0.3
    )
    close(model, by_hand(adamw))


def test_steps_in_place_of_epochs(tmp_path):
    whole, epochs = run(tmp_path / "epochs", epochs=2, batch_size=4)
    same, steps = run(tmp_path / "steps", epochs=99, steps=4, batch_size=4)
    assert same_bytes(weights(whole), weights(same))
    assert [row.step for row in steps.history] == [row.step for row in epochs.history] == [2, 4]
    _, cut = run(tmp_path / "cut", epochs=99, steps=3, batch_size=4, validate=lambda model, epoch: 0.5)
    assert [row.step for row in cut.history] == [2, 3]
    assert cut.history[-1].validation_accuracy == 0.5


def test_training_learns(tmp_path):
    _, result = run(tmp_path, epochs=60, optimizer="adamw", learning_rate=0.03)
    assert result.history[-1].accuracy == 1.0
    assert result.history[-1].loss < 0.5 * result.history[0].loss


@pytest.mark.parametrize("clips", [8, 9, 11])
def test_accumulation_is_the_big_batch(tmp_path, clips):
    big, _ = run(tmp_path / "big", clips=TinyClips(clips), batch_size=4, momentum=0.5)
    small, _ = run(tmp_path / "small", clips=TinyClips(clips), batch_size=2, accumulate=2, momentum=0.5)
    ones, _ = run(tmp_path / "ones", clips=TinyClips(clips), batch_size=1, accumulate=4, momentum=0.5)
    close(big, small)
    close(big, ones)


def test_workers_give_the_same_bits(tmp_path):
    here, _ = run(tmp_path / "here")
    there, _ = run(tmp_path / "there", workers=2)
    assert same_bytes(weights(here), weights(there))


def test_every_epoch_sees_every_clip_once_in_the_planned_order(tmp_path):
    clips = TinyClips(9)
    run(tmp_path, clips=clips, epochs=2)
    planned = [(epoch, i) for epoch in (1, 2) for batch in epoch_batches(9, 4, 1, 5, epoch) for i in batch]
    assert clips.asked == planned


def test_a_seed_is_a_run_and_the_callers_random_state_stays(tmp_path):
    model = tiny_network(dropout=0.5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, _ = run(tmp_path / "a", copy.deepcopy(model), mixup=0.4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, _ = run(tmp_path / "b", copy.deepcopy(model), mixup=0.4)
    other, _ = run(tmp_path / "c", copy.deepcopy(model), mixup=0.4, seed=6)
    assert same_bytes(weights(first), weights(again))
    assert not same_bytes(weights(first), weights(other))


def test_dropout_is_set_where_there_is_some_and_said_where_there_is_none(tmp_path):
    model, result = run(tmp_path / "some", tiny_network(dropout=0.1), dropout=0.7)
    assert model[3].p == 0.7
    assert not result.notes
    no_dropout = nn.Sequential(*[layer for layer in tiny_network() if not isinstance(layer, nn.Dropout)])
    groups = {name.replace("6.", "5."): group for name, group in GROUPS.items()}
    _, result = run(tmp_path / "none", no_dropout, groups=groups, dropout=0.7)
    assert "no dropout layer" in result.notes[0]


def test_dropout_changes_training(tmp_path):
    without, _ = run(tmp_path / "a")
    with_some, _ = run(tmp_path / "b", dropout=0.5)
    assert not same_bytes(weights(without), weights(with_some))


def test_the_rate_follows_the_schedule_over_all_epochs(tmp_path):
    _, result = run(tmp_path, epochs=4, schedule="cosine", warmup_epochs=1.5, kept_rate=0.5)
    steps = np.array([1, 3, 5, 7])  # each epoch's second and last, counted from 0
    after_warm_up = 0.5 * (1 + np.cos(np.pi * (steps / 2 - 1.5) / 2.5))
    rates = 0.1 * np.where(steps < 3, (steps + 1) / 3, after_warm_up)
    assert [row.learning_rate_new for row in result.history] == pytest.approx(rates)
    assert [row.learning_rate_kept for row in result.history] == pytest.approx(0.5 * rates)


def test_gradient_clipping_bounds_the_step(tmp_path):
    start = weights(tiny_network())
    model, _ = run(tmp_path, epochs=1, batch_size=8, momentum=0.0, clip_gradient=0.01)
    moved = sum(((weights(model)[n] - start[n]) ** 2).sum() for n in start) ** 0.5
    assert moved.item() == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_the_average_is_the_result_and_what_validation_sees(tmp_path):
    seen = []

    def validate(model, epoch):
        seen.append(weights(model))
        return float(epoch)

    model, _ = run(tmp_path / "ema", validate=validate, epochs=3, batch_size=8, ema=0.2)
    raw, average = [], weights(tiny_network())
    for epochs in (1, 2, 3):
        raw.append(weights(run(tmp_path / f"raw{epochs}", epochs=epochs, batch_size=8)[0]))
    for taken, (step, at_validation) in enumerate(zip(raw, seen, strict=True), start=1):
        decay = min(0.2, (1 + taken) / (10 + taken))
        average = {n: decay * average[n] + (1 - decay) * step[n] for n in average}
        torch.testing.assert_close(at_validation, average)
    torch.testing.assert_close(weights(model), average)
    without_validation, _ = run(tmp_path / "last", epochs=3, batch_size=8, ema=0.2)
    assert same_bytes(weights(model), weights(without_validation))


def test_the_best_validated_weights_are_chosen(tmp_path):
    model, result = run(tmp_path / "best", validate=evenly, epochs=4)
    until_2, _ = run(tmp_path / "two", epochs=2)
    assert result.selection == "best validation epoch 2 of 4"
    assert result.best_epoch == 2
    assert [row.validation_accuracy for row in result.history] == [0.5, 1.0, 0.5, pytest.approx(1 / 3)]
    assert same_bytes(weights(model), weights(until_2))
    assert not model.training


def test_without_validation_the_last_epoch_is_chosen(tmp_path):
    _, result = run(tmp_path, epochs=3)
    assert (result.selection, result.best_epoch) == ("last epoch", 3)


def test_ties_go_to_the_earliest_epoch(tmp_path):
    _, result = run(tmp_path, validate=lambda model, epoch: 0.5, epochs=3)
    assert result.best_epoch == 1


def test_early_stopping(tmp_path):
    _, result = run(tmp_path, validate=evenly, epochs=9, early_stopping_patience=3)
    assert len(result.history) == 5
    assert result.selection == "best validation epoch 2 of 5"
    assert "stopped early after epoch 5 of 9" in result.notes[0]
    _, again = run(tmp_path, validate=evenly, epochs=9, early_stopping_patience=3)
    assert again == result  # a finished run is not trained on


def test_plateau_lowers_the_rate_after_its_patience(tmp_path):
    _, result = run(
        tmp_path, validate=evenly, epochs=7, schedule="plateau", plateau_patience=2, step_factor=0.5
    )
    rates = [row.learning_rate_new for row in result.history]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025])


def test_stall_lowers_the_rate_after_every_check_that_does_not_rise(tmp_path):
    def validate(model, epoch):
        return {2: 0.3, 4: 0.3, 6: 0.5, 8: 0.4, 9: 0.4}[epoch]

    _, result = run(
        tmp_path, validate=validate, epochs=9, validate_every=2, schedule="stall", step_factor=0.5
    )
    rates = [row.learning_rate_new for row in result.history]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025])
    checked = [row.epoch for row in result.history if row.validation_accuracy is not None]
    assert checked == [2, 4, 6, 8, 9]


def test_validation_may_watch_without_choosing(tmp_path):
    watched, result = run(tmp_path / "watched", validate=evenly, keep_best=False, epochs=4)
    alone, _ = run(tmp_path / "alone", epochs=4)
    assert same_bytes(weights(watched), weights(alone))
    assert result.selection == "last epoch"
    assert result.best_epoch == 4
    assert [row.validation_accuracy for row in result.history] == [evenly(None, e) for e in (1, 2, 3, 4)]


def test_batches_may_be_drawn_anew_at_every_step(tmp_path):
    clips = TinyClips(count=10)
    run(tmp_path, clips=clips, epochs=3, reshuffle="step")
    seen = [[index for epoch, index in clips.asked if epoch == e] for e in (1, 2, 3)]
    assert [len(indices) for indices in seen] == [10, 10, 10]
    assert any(len(set(indices)) < 10 for indices in seen)
    for indices in seen:
        for batch in (indices[:4], indices[4:8], indices[8:]):
            assert len(set(batch)) == len(batch)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_comes_close_to_float32(tmp_path, precision):
    full, _ = run(tmp_path / "full", learning_rate=0.01)
    low, _ = run(tmp_path / "low", learning_rate=0.01, precision=precision)
    assert not same_bytes(weights(full), weights(low))
    torch.testing.assert_close(weights(low), weights(full), rtol=0.05, atol=0.01)
    assert all(tensor.dtype == torch.float32 for tensor in weights(low).values())


def test_mixup_changes_training_and_off_it_does_not(tmp_path):
    off, _ = run(tmp_path / "off")
    on, _ = run(tmp_path / "on", mixup=0.8)
    assert not same_bytes(weights(off), weights(on))


def test_parameters_that_came_without_gradient_stay_so(tmp_path):
    model = tiny_network()
    model[0].weight.requires_grad_(False)
    start = weights(model)
    run(tmp_path, model, weight_decay=0.1)
    assert torch.equal(model[0].weight, start["0.weight"])
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad


def test_a_weight_shared_by_two_layers_is_one_parameter(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.second.weight = self.first.weight

        def forward(self, clip):
            means = clip.mean((3, 4)).flatten(1)[:, :4]
            return self.head(self.second(self.first(means)))

    model = Twice()
    groups = {name: "kept" for name, _ in model.named_parameters()}
    run(tmp_path, model, groups=groups)
    assert model.first.weight is model.second.weight


def test_a_single_last_clip_joins_the_batch_before_it_under_batch_norm(tmp_path):
    class Sizes(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.seen = tiny_network("batch"), []

        def forward(self, clip):
            self.seen.append(len(clip))
            return self.net(clip)

    model = Sizes()
    run(
        tmp_path,
        model,
        TinyClips(9),
        epochs=1,
        groups={f"net.{name}": group for name, group in GROUPS.items()},
    )
    assert model.seen == [4, 5]
    still = tiny_network("batch")
    _, result = run(tmp_path / "still", still, TinyClips(9), epochs=1, norm_statistics="pretrained")
    assert result.history[-1].step == 3  # no statistics of the batch, no need to join
    with pytest.raises(DataError, match=r"1 training clip\(s\), but at least 2"):
        run(tmp_path / "one", tiny_network("batch"), TinyClips(1))


def test_log_and_progress_say_what_the_result_says(tmp_path):
    events = []
    _, result = run(tmp_path, validate=evenly, epochs=2, progress=events.append, kept_rate=0.5)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row.loss for row in result.history]
    assert [float(row["learning_rate_kept"]) for row in rows] == [0.05, 0.05]
    per_epoch = [1, 2, 2]  # after every step, and once more after validation
    assert [(e.epoch, e.step, e.steps) for e in events] == [
        (n, step, 2) for n in (1, 2) for step in per_epoch
    ]
    assert events[-1].loss == result.history[-1].loss
    assert events[-1].validation_accuracy == 1.0
    assert list((tmp_path / "tensorboard").iterdir())


def test_training_works_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    run(tmp_path)
    assert not (tmp_path / "tensorboard").exists()


def test_a_loss_that_is_not_finite_is_one_clear_line(tmp_path):
    with pytest.raises(
        TimeliftError, match=r"epoch 1, step 2 of 2, at learning rate 1e\+30: lower learning_rate"
    ):
        run(tmp_path, model=tiny_network()[0:1].append(nn.Flatten()).append(nn.Linear(768, 3)),
            groups={"0.weight": "new", "0.bias": "new", "2.weight": "new", "2.bias": "new"},
            learning_rate=1e30)  # fmt: skip


def test_weights_that_are_not_finite_after_the_last_step_are_refused(tmp_path):
    model = tiny_network()
    model[6].weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TimeliftError, match="the weights are not finite in epoch 1"):
        run(tmp_path, model, batch_size=8, epochs=1)


def test_a_batch_that_does_not_fit_names_one_that_does(tmp_path):
    class Hungry(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_network()

        def forward(self, clip):
            if len(clip) > 2:
                raise RuntimeError(
                    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
                )
            return self.net(clip)

    groups = {f"net.{name}": group for name, group in GROUPS.items()}
    with pytest.raises(
        TimeliftError, match=r"batch_size=8 does not fit .* 2 fits: set batch_size=2 and accumulate=4"
    ):
        run(tmp_path, Hungry(), groups=groups, batch_size=8)


def test_another_runtime_error_stays_what_it_is(tmp_path):
    model = tiny_network()
    model.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        run(tmp_path, model)


class Broken(TinyClips):
    def __getitem__(self, index):
        raise DataError("clip.avi: no frame decodes; leave it out")


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_data_arrives_as_its_own_line(tmp_path, workers):
    with pytest.raises(DataError) as caught:
        run(tmp_path, clips=Broken(), workers=workers)
    assert str(caught.value) == "clip.avi: no frame decodes; leave it out"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"schedule": "plateau"}, "plateau"),
        ({"early_stopping_patience": 2}, "early_stopping_patience=2 follows the validation"),
        ({"epochs": 0}, "training.epochs is 0, wanted at least 1"),
        ({"ema": 1.0}, "training.ema is 1.0, wanted less than 1"),
        ({"learning_rate": float("nan")}, "training.learning_rate is nan"),
        ({"dropout": 1.5}, "training.dropout is 1.5"),
        ({"groups": {}}, "6 parameter.s. without a group: 0.weight, 0.bias"),
        ({"groups": GROUPS | {"x": "new"}}, "not in the network: x"),
        ({"groups": GROUPS | {"0.bias": "old"}}, "0.bias='old'"),
        ({"clips": TinyClips(8, classes=5)}, "label [34], but the network has 3 classes"),
        (
            {"groups": dict.fromkeys(GROUPS, "kept"), "freeze_kept_steps": 1},
            "every parameter is frozen in the first step",
        ),
    ],
)
def test_wrong_use_is_named(tmp_path, changes, line):
    with pytest.raises(UsageError, match=line):
        run(tmp_path, **changes)


def test_no_clips_is_an_error(tmp_path):
    with pytest.raises(DataError, match="0 training clip"):
        run(tmp_path, clips=TinyClips(0))


def test_every_choice_is_read():
    """A field of Optimisation that no line of the training room reads would be a choice without effect."""
    from pathlib import Path

    import timelift.training

    source = "".join(p.read_text() for p in Path(timelift.training.__file__).parent.glob("*.py"))
    for field in dataclasses.fields(PLAIN):
        assert f"choices.{field.name}" in source, field.name


class SlowClips(TinyClips):
    """Clips that take their time."""

    def __getitem__(self, index):
        time.sleep(0.02)
        return super().__getitem__(index)


@pytest.mark.parametrize("clips", [TinyClips, SlowClips])
def test_the_time_spent_waiting_for_data_is_recorded(tmp_path, clips):
    _, result = run(tmp_path, clips=clips(6))
    waited = [row.seconds_waiting for row in result.history]
    assert all(0 < one <= row.seconds for one, row in zip(waited, result.history, strict=True))
    assert result.seconds_waiting == sum(waited)
    assert clips is TinyClips or min(waited) >= 6 * 0.02
