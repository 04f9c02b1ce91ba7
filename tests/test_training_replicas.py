"""Replicas trained at once against the loop that trains them one by one."""

import dataclasses

import pytest
import torch
from torch import nn

from timelift import Inflate, lift
from timelift.records import Optimisation, Recipe, TimeliftError, UsageError
from timelift.systems.lenet5 import lenet5_3d, lenet5_3dttn
from timelift.training import train
from timelift.training.objective import loss_and_hits
from timelift.training.replicas import losses_and_hits, train_replicas

SGD = Optimisation(
    optimizer="sgd",
    learning_rate=0.02,
    lifted_rate=0.5,
    kept_rate=0.3,
    momentum=0.9,
    weight_decay=0.01,
    schedule="cosine",
    warmup_epochs=0.5,
    epochs=3,
    batch_size=3,
    norm_statistics="pretrained",
)
SEEDS = (3, 11, 12)


class Clips:
    """Noise that depends on (seed, epoch, index) alone; brightness tells the class."""

    def __init__(self, seed: int, count: int = 7):
        self.seed, self.count, self.epoch = seed, count, 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        generator = torch.Generator().manual_seed(10_000 * self.seed + 100 * self.epoch + index)
        label = index % 3
        noise = torch.randint(0, 40, (1, 12, 12, 12), generator=generator) + 60 * label
        return noise.to(torch.uint8), label


def normalise(batch: torch.Tensor) -> torch.Tensor:
    return batch.double() / 255 - 0.4


def image_network(norm: nn.Module, dropout: float = 0.0) -> nn.Module:
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        norm,
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(6, 3),
    )
    return lift(layers, Inflate(frames=3, start="random"), example=torch.zeros(1, 1, 12, 12))


MAKERS = {
    "lenet5_3d": lambda: lenet5_3d(3, (2, 3), frames=12, size=12),
    "lenet5_3dttn": lambda: lenet5_3dttn(3, (2, 3), frames=12, size=12),
    "lifted, group norm": lambda: image_network(nn.GroupNorm(2, 4)),
    "lifted, batch norm held": lambda: image_network(nn.BatchNorm2d(4)),
}


def made(maker, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return maker().double()


def accuracy_of(seed: int):
    """Something that each replica answers differently, and that moves up and down."""
    generator = torch.Generator().manual_seed(seed)
    clip = torch.randn(5, 1, 12, 12, 12, generator=generator, dtype=torch.float64)
    return lambda net, epoch: float(net(clip).sin().mean()) * (-1) ** (epoch + seed)


def one_by_one(maker, choices, folder, validated=True):
    found = []
    for seed in SEEDS:
        model = made(maker, seed)
        result = train(
            model,
            Clips(seed),
            Recipe(training=choices),
            folder / str(seed),
            seed=seed,
            groups=model.parameter_groups(),
            normalise=normalise,
            validate=accuracy_of(seed) if validated else None,
            device=torch.device("cpu"),
        )
        found.append((model, result))
    return found


def at_once(maker, choices, validated=True, count: int = 7):
    models = [made(maker, seed) for seed in SEEDS]
    results = train_replicas(
        models,
        [Clips(seed, count) for seed in SEEDS],
        Recipe(training=choices),
        seeds=SEEDS,
        groups=models[0].parameter_groups(),
        normalise=normalise,
        validate=[accuracy_of(seed) for seed in SEEDS] if validated else None,
        device=torch.device("cpu"),
    )
    return list(zip(models, results, strict=True))


def check_equal(together, alone):
    for (model, result), (other, expected) in zip(together, alone, strict=True):
        assert not model.training
        for name, tensor in other.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-10, atol=1e-10)
        assert (result.selection, result.best_epoch) == (expected.selection, expected.best_epoch)
        for row, wanted in zip(result.history, expected.history, strict=True):
            assert numbers(row) == pytest.approx(numbers(wanted), rel=1e-6)


def numbers(row) -> dict[str, float]:
    told = dataclasses.asdict(row) | {"seconds": 0.0, "seconds_waiting": 0.0}
    return {name: -1.0 if value is None else value for name, value in told.items()}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "adamw", "learning_rate": 3e-3, "reshuffle": "step", "steps": 8, "validate_every": 2}],
    ids=["sgd", "adamw"],
)
def test_replicas_at_once_are_the_runs_one_by_one(tmp_path, maker, changes):
    choices = dataclasses.replace(SGD, **changes)
    alone = one_by_one(maker, choices, tmp_path)
    together = at_once(maker, choices)
    check_equal(together, alone)
    assert len({result.best_epoch for _, result in together}) > 1  # each chose for itself
    start, end = made(maker, SEEDS[0]), together[0][0]
    moved = [name for name, p in start.named_parameters() if not p.equal(end.state_dict()[name])]
    assert len(moved) == len(list(start.parameters()))  # the law is not about networks that stand still
    assert not end.state_dict()[moved[0]].equal(together[1][0].state_dict()[moved[0]])


def test_without_validation_the_last_weights_stay(tmp_path):
    maker = MAKERS["lenet5_3d"]
    choices = dataclasses.replace(SGD, epochs=2)
    check_equal(
        at_once(maker, choices, validated=False), one_by_one(maker, choices, tmp_path, validated=False)
    )


def test_the_loss_of_replicas_is_that_of_each():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(3, 5, 4, generator=generator), torch.randint(4, (3, 5), generator=generator)
    losses, hits = losses_and_hits(logits, labels, smoothing=0.2)
    for r in range(3):
        loss, right = loss_and_hits(logits[r], labels[r], 0.2, None)
        torch.testing.assert_close(losses[r], loss)
        assert hits[r] == right


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accumulate", 2),
        ("mixup", 0.4),
        ("ema", 0.9),
        ("clip_gradient", 1.0),
        ("max_norm", 2.0),
        ("precision", "bfloat16"),
        ("early_stopping_patience", 3),
        ("freeze_kept_steps", 4),
        ("schedule", "stall"),
    ],
)
def test_what_each_replica_would_decide_for_itself_is_refused(field, value):
    with pytest.raises(UsageError, match=f"{value}"):
        at_once(MAKERS["lenet5_3d"], dataclasses.replace(SGD, **{field: value}))


def test_networks_whose_answers_change_are_refused():
    with pytest.raises(UsageError, match="draws at random"):
        at_once(lambda: image_network(nn.GroupNorm(2, 4), dropout=0.5), SGD)
    with pytest.raises(UsageError, match="running_mean changes with every batch"):
        at_once(lambda: image_network(nn.BatchNorm2d(4)), dataclasses.replace(SGD, norm_statistics="batch"))


def test_networks_or_clips_that_differ_are_refused():
    widths = iter([(2, 3), (2, 4), (2, 3)])
    with pytest.raises(UsageError, match="networks of one shape"):
        at_once(lambda: lenet5_3d(3, next(widths), frames=12, size=12), SGD)
    models = [made(MAKERS["lenet5_3d"], seed) for seed in (0, 1)]
    with pytest.raises(UsageError, match="as many clips each; these are 7, 8"):
        train_replicas(
            models,
            [Clips(0, 7), Clips(1, 8)],
            Recipe(training=SGD),
            seeds=(0, 1),
            groups=models[0].parameter_groups(),
            normalise=normalise,
            validate=None,
            device=torch.device("cpu"),
        )


def test_a_replica_that_goes_astray_is_named():
    with pytest.raises(TimeliftError, match="of the run with seed 3, at learning rate"):
        at_once(MAKERS["lenet5_3d"], dataclasses.replace(SGD, learning_rate=1e200, schedule="constant"))
