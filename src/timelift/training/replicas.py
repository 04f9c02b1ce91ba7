"""Several runs of one variant at once, each with its own start, clips and order: equal to one by one.

What a recipe may ask for here is what moves every weight for itself; the rest is refused, by name.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from timelift.records import Optimisation, Recipe, UsageError
from timelift.training.budget import budget_of
from timelift.training.checks import check_choices, not_finite
from timelift.training.freeze import check_something_learns, held_statistics, set_modes
from timelift.training.groups import complete_groups, group_rates, set_rates
from timelift.training.loading import ClipDataset, load
from timelift.training.objective import check_answer
from timelift.training.order import drawn_anew, epoch_batches
from timelift.training.result import TrainResult, conclude
from timelift.training.schedules import rate_factor
from timelift.training.stacked import Stacked, check_repeatable
from timelift.training.standing import EpochRow, Standing

_ALONE = {  # what one replica's weights, or its accuracy, would have to decide for itself
    "accumulate": 1,
    "freeze_lifted_steps": 0,
    "freeze_kept_steps": 0,
    "dropout": None,
    "sampling": "all",
    "class_weights": "none",
    "mixup": 0.0,
    "ema": 0.0,
    "clip_gradient": 0.0,
    "max_norm": 0.0,
    "unit_norm": False,
    "precision": "float32",
    "early_stopping_patience": 0,
}


def train_replicas(
    models: Sequence[nn.Module],
    clips: Sequence[ClipDataset],
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    groups: Mapping[str, str],
    normalise: Callable[[Tensor], Tensor],
    validate: Sequence[Callable[[nn.Module, int], float]] | None,
    device: torch.device,
    keep_best: bool = True,
) -> tuple[TrainResult, ...]:
    """Train R networks as `train` would train each of them, and leave them with the chosen weights, in eval.

    models, clips, seeds, validate: one a replica; networks of one shape, and as many clips for each. The
    other arguments are those of `train`. Nothing is written: what is interrupted begins anew.

    Raises:
        UsageError: for choices and networks that cannot be trained at once, naming them.
        TimeliftError: if a replica's loss is no longer finite.
    """
    choices = recipe.training
    check_choices(choices, has_validation=validate is not None)
    check_together(choices, clips)
    groups = complete_groups(models[0], groups)
    learning = frozenset(name for name, parameter in models[0].named_parameters() if parameter.requires_grad)
    check_something_learns(learning, groups, choices)
    for model in models:
        model.to(device)
        set_modes(model, groups, frozenset(), held_statistics(choices, frozenset()), learning)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        batches = epoch_batches(len(clips[0]), choices.batch_size, 1, seed, epoch)
        batches = drawn_anew(batches, seed, epoch) if choices.reshuffle == "step" else batches
        return batches[: budget.steps_of(epoch)]

    def coming(seed: int) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(1, budget.epochs + 1):
            yield from ([(epoch, i) for i in batch] for batch in plan(seed, epoch))

    budget = budget_of(choices, math.ceil(len(clips[0]) / choices.batch_size))
    checks = {*range(choices.validate_every, budget.epochs + 1, choices.validate_every), budget.epochs}
    check_repeatable(models[0], normalise(clips[0][0][0].expand(2, -1, -1, -1, -1).to(device)))
    stacked = Stacked(models)
    optimizer = stacked.optimizer(groups, choices)
    at, best = [Standing() for _ in models], [dict[str, Tensor]() for _ in models]
    started, taken = time.monotonic(), 0

    with ExitStack() as open_feeds:
        feeds = [
            open_feeds.enter_context(closing(load(own, coming(seed), 0, device, seed)))
            for own, seed in zip(clips, seeds, strict=True)
        ]
        for epoch in range(1, budget.epochs + 1):
            losses, hits = (torch.zeros(len(models), device=device) for _ in range(2))
            seen, waited = 0, 0.0
            for step in range(budget.steps_of(epoch)):
                factor = rate_factor(choices, taken, budget)
                rates = group_rates(choices, choices.learning_rate * factor, frozenset())
                set_rates(optimizer, choices.learning_rate * factor)
                asked = time.monotonic()
                batches = [next(feed) for feed in feeds]
                waited += time.monotonic() - asked
                clip = torch.stack([clip for clip, _ in batches]).to(device)  # uint8 (R, B, C, T, H, W)
                labels = torch.stack([labels for _, labels in batches])  # (R, B)
                highest_label = int(labels.max())
                clip, labels = normalise(clip.flatten(0, 1)).unflatten(0, labels.shape), labels.to(device)
                logits = stacked(clip)  # (R, B, K)
                check_answer(logits[0], labels.shape[1], highest_label)
                loss, right = losses_and_hits(logits, labels, choices.label_smoothing)
                optimizer.zero_grad(set_to_none=True)
                (loss / labels.shape[1]).sum().backward()  # each replica's mean: none sees another's
                bad = (~loss.detach().isfinite()).nonzero()
                if len(bad):
                    where = f"epoch {epoch}, step {step + 1}, of the run with seed {seeds[int(bad[0])]}"
                    raise not_finite("the loss is", where, factor, choices)
                optimizer.step()
                losses, hits = losses + loss.detach(), hits + right
                seen, taken = seen + labels.shape[1], taken + 1

            stacked.put()
            for r, model in enumerate(models):
                accuracy = None
                if validate is not None and epoch in checks:
                    model.eval()
                    with torch.no_grad():
                        accuracy = float(validate[r](model, epoch))
                    set_modes(model, groups, frozenset(), held_statistics(choices, frozenset()), learning)
                    before = at[r].best_accuracy
                    if before is None or accuracy > before:
                        at[r].best_accuracy, at[r].best_epoch = accuracy, epoch
                        best[r] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
                seconds, at[r].seconds = at[r].seconds, time.monotonic() - started
                at[r].history.append(
                    EpochRow(
                        epoch=epoch,
                        step=taken,
                        learning_rate_new=rates["new"],
                        learning_rate_lifted=rates["lifted"],
                        learning_rate_kept=rates["kept"],
                        loss=losses[r].item() / seen,
                        accuracy=hits[r].item() / seen,
                        validation_accuracy=accuracy,
                        seconds=at[r].seconds - seconds,
                        seconds_waiting=waited,
                    )
                )

    chosen = validate is not None and keep_best
    for model, weights in zip(models, best, strict=True):
        if chosen:
            model.load_state_dict(weights)
        model.eval()
    note = f"trained at once with {len(models) - 1} other run(s)"
    return tuple(conclude(one, choices, budget.epochs, chosen, [note]) for one in at)


def check_together(choices: Optimisation, clips: Sequence[ClipDataset]) -> None:
    """Refuse what replicas cannot do together.

    Raises:
        UsageError: naming the choice, or the numbers of clips.
    """
    for name, value in _ALONE.items():
        if getattr(choices, name) != value:
            told = f"recipe: training.{name} is {getattr(choices, name)!r}"
            raise UsageError(f"{told}, and replicas at once take only {value!r}; train one by one")
    if choices.schedule in ("plateau", "stall"):
        raise UsageError(f"schedule {choices.schedule!r} follows each run's own accuracy; train one by one")
    if len({len(own) for own in clips}) != 1:
        counts = ", ".join(str(len(own)) for own in clips)
        raise UsageError(f"replicas at once have to see as many clips each; these are {counts}")


def losses_and_hits(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """(R, B, K) logits and (R, B) labels -> (R,) sums of the clips' losses, and (R,) how many are right."""
    flat = logits.float().flatten(0, 1)
    losses = cross_entropy(flat, labels.flatten(), reduction="none", label_smoothing=smoothing)
    hits = flat.detach().argmax(dim=1) == labels.flatten()
    return losses.view(labels.shape).sum(1), hits.view(labels.shape).sum(1)
