"""The training loop, in the open: one story from top to bottom; its parts are in the files beside it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from timelift.auxiliary import auxiliary_answers
from timelift.records import Optimisation, Recipe, TimeliftError
from timelift.training.balance import balanced_batches, balanced_weights, check_labels
from timelift.training.batchnorm import batch_norm_notes, batch_norms, synchronised
from timelift.training.board import board_epoch, board_step, tensorboard
from timelift.training.budget import Budget, budget_of
from timelift.training.checkpoint import identity, read_checkpoint, write_checkpoint
from timelift.training.checks import check_choices, not_finite
from timelift.training.constraints import constrain, constraint_notes
from timelift.training.distributed import (
    add_up,
    add_up_gradients,
    copy_from_first,
    join_processes,
    own_device,
    say_from_first,
)
from timelift.training.dropout import set_dropout
from timelift.training.ema import averaged, put_average, start_average, update_average
from timelift.training.freeze import check_something_learns, frozen_groups, held_statistics, set_modes
from timelift.training.groups import build_optimizer, complete_groups, group_rates, set_rates
from timelift.training.loading import ClipDataset, load
from timelift.training.logs import ProgressEvent, append_log, write_log
from timelift.training.memory import naming_the_batch_that_fits
from timelift.training.mixup import Mix, draw_mix, mix_clips
from timelift.training.objective import auxiliary_loss, check_answer, loss_and_hits
from timelift.training.order import drawn_anew, epoch_batches, optimiser_steps, share, upcoming
from timelift.training.precision import autocast, gradient_scaler
from timelift.training.result import TrainResult, conclude
from timelift.training.schedules import after_check, after_epoch, rate_factor
from timelift.training.seeds import borrowed_randomness, derive, seed_draws
from timelift.training.standing import EpochRow, Standing, is_finished, parse_standing, standing_to_dict

SHARE_FOR_CHECKPOINTS = 0.01  # of the time; so epochs of one step do not each wait for the disk


def train(
    model: nn.Module,
    clips: ClipDataset,
    recipe: Recipe,
    folder: Path,
    *,
    seed: int,
    groups: Mapping[str, str],
    normalise: Callable[[Tensor], Tensor],
    validate: Callable[[nn.Module, int], float] | None,
    device: torch.device,
    keep_best: bool = True,
    progress: Callable[[ProgressEvent], None] | None = None,
    workers: int = 0,
    checkpoint_minutes: float = 10.0,
    clip_labels: Sequence[int] | None = None,
) -> TrainResult:
    """Train the model on the clips as the recipe says, and leave it with the chosen weights, in eval mode.

    If `folder` holds a checkpoint of the same run, training goes on from there, on a CPU to the same bits.
    The checkpoint stays when training is done: `discard_checkpoint` removes it.

    model: float clips (B, C, T, H, W) -> logits (B, K); changed in place. clips: training clips only.
    groups: parameter name -> "new" | "lifted" | "kept". normalise: uint8 batch on the device -> float batch.
    validate: (model in eval mode, epoch from 1) -> accuracy. keep_best: the weights of the best validated
    epoch are the answer; otherwise, and without validation, the last epoch's. clip_labels: of all clips,
    in order, for choices that balance classes.

    Raises:
        UsageError: for choices that cannot be, parameters without a group, or another run's checkpoint.
        DataError: for too few clips, or whatever the clips raise.
        TimeliftError: if the loss is no longer finite, or memory runs out.
    """
    choices = recipe.training
    check_choices(choices, has_validation=validate is not None)
    check_labels(choices, clip_labels, len(clips))
    groups = complete_groups(model, groups)
    learning = frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)
    check_something_learns(learning, groups, choices)
    folder.mkdir(parents=True, exist_ok=True)

    processes = join_processes(device)
    device = own_device(device, processes)
    model.to(device)
    normalising = batch_norms(model, groups, still=held_statistics(choices, frozenset()))
    notes = [*batch_norm_notes(normalising, processes, device), *constraint_notes(model, choices)]
    if choices.dropout is not None and set_dropout(model, choices.dropout) == 0:
        notes.append(f"dropout={choices.dropout} changed nothing: the network has no dropout layer")

    # the order of the clips is known beforehand: epoch -> optimiser steps -> batches over all processes
    smallest = min(2, choices.batch_size) if normalising else 1  # clips a process

    def whole_epoch(epoch: int) -> list[list[list[int]]]:
        batch = choices.batch_size * processes.count
        least = smallest * processes.count if smallest > 1 else 1
        batches = epoch_batches(len(clips), batch, least, seed, epoch)
        if choices.sampling == "balanced" and clip_labels is not None:
            batches = balanced_batches(batches, clip_labels, seed, epoch)
        if choices.reshuffle == "step":
            batches = drawn_anew(batches, seed, epoch)
        return optimiser_steps(batches, choices.accumulate)

    budget = budget_of(choices, len(whole_epoch(1)))

    def plan(epoch: int) -> list[list[list[int]]]:
        return whole_epoch(epoch)[: budget.steps_of(epoch)]

    checks = {budget.epochs}  # epochs that end with a look at the weights
    if validate is not None:
        checks.update(range(choices.validate_every, budget.epochs, choices.validate_every))
    if choices.schedule == "cosine" and choices.warmup_epochs * budget.steps_per_epoch >= budget.steps:
        notes.append(f"warm-up lasts all {budget.epochs} epoch(s): the learning rate only rises")

    weights = None  # (classes,), of a clip's loss
    if choices.class_weights == "balanced" and clip_labels is not None:
        weights = balanced_weights(clip_labels).to(device)

    # what moves: all of it is in the checkpoint
    optimizer = build_optimizer(model, groups, choices)
    scaler = gradient_scaler(choices, device)
    at = Standing()
    best_weights: dict[str, Tensor] | None = None

    wanted = identity(model, groups, recipe) | {
        "seed": seed,
        "training clips": len(clips),
        "processes": processes.count,
        "validation": validate is not None,
        "keep_best": keep_best,
    }
    copy_from_first([*model.parameters(), *model.buffers()], processes)
    average = start_average(model) if choices.ema > 0 else None
    stored = say_from_first(read_checkpoint(folder, wanted) if processes.is_first else None, processes)
    if stored is not None:
        model.load_state_dict(stored["model"])
        optimizer.load_state_dict(stored["optimizer"])
        scaler.load_state_dict(stored["scaler"])
        average = stored["average"] and {
            name: tensor.to(device) for name, tensor in stored["average"].items()
        }
        at, best_weights = parse_standing(stored["standing"]), stored["best_weights"]

    def save() -> None:
        if processes.is_first:
            state = {
                "identity": wanted,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "average": average,
                "standing": standing_to_dict(at),
                "best_weights": best_weights,
            }
            write_checkpoint(state, folder)

    def learn(clip: Tensor, labels: Tensor, mix: Mix | None, counts: float) -> Tensor:
        """Add the gradients of a batch's summed loss, times `counts`; gives that loss and the hits, (2,)."""
        highest_label = int(labels.max())
        clip, labels = clip.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        clip = normalise(clip)  # (B, C, T, H, W), float only from here
        if mix is not None:
            clip = mix_clips(clip, mix)
        with autocast(choices, device), auxiliary_answers() as beside:
            logits = model(clip)  # (B, K)
        check_answer(logits, len(clip), highest_label)
        loss, hits = loss_and_hits(logits, labels, choices.label_smoothing, mix, weights)
        loss = loss + auxiliary_loss(beside, labels, choices.label_smoothing, mix, weights)
        scaler.scale(loss * counts).backward()
        return torch.stack([loss.detach(), hits])

    def attempt(batch: int) -> None:
        """One optimiser step with so many clips, to see whether it fits."""
        optimizer.zero_grad(set_to_none=True)
        if processes.count > 1:
            model.eval()  # else synchronised batch norm would wait for the other processes
        learn(clips[0][0].expand(batch, -1, -1, -1, -1), torch.zeros(batch, dtype=torch.long), None, 0.0)
        scaler.step(optimizer)

    if processes.is_first:
        write_log(folder / "log.csv", at.history)
    speaks = processes.is_first and not is_finished(at, budget.epochs)
    board_folder = tensorboard(folder / "tensorboard", at.taken) if speaks else nullcontext()
    coming = upcoming(plan, at.epoch, at.step, budget.epochs)
    mine = ([(epoch, i) for i in share(b, processes.rank, processes.count) or b[:1]] for epoch, b in coming)
    optimizer.zero_grad(set_to_none=True)
    clock = saved = time.monotonic()
    saving = 0.0  # seconds that a checkpoint takes: unknown before the first epoch's

    with (
        borrowed_randomness(device),
        synchronised(model, processes, device),
        closing(load(clips, mine, workers, device, seed)) as feed,
        board_folder as board,
    ):
        held: frozenset[str] | None = None  # the groups for which the modes are set; None: they are not
        while not is_finished(at, budget.epochs):
            steps = plan(at.epoch)
            for step in range(at.step, len(steps)):
                # who learns, how fast, and what is drawn: functions of seed, epoch and step
                frozen = frozen_groups(choices, at.taken)
                if frozen != held:
                    set_modes(model, groups, frozen, held_statistics(choices, frozen), learning)
                    held = frozen
                factor = at.plateau.factor * rate_factor(choices, at.taken, budget)
                rates = group_rates(choices, choices.learning_rate * factor, frozen)
                set_rates(optimizer, choices.learning_rate * factor)
                seed_draws(derive(seed, "dropout", at.epoch, step, processes.rank), device)

                where = f"epoch {at.epoch}, step {step + 1} of {len(steps)}"

                # gradients of the mean over all clips of all batches of all processes
                step_clips = sum(len(batch) for batch in steps[step])
                totals = torch.zeros(2, device=device)
                with naming_the_batch_that_fits(attempt, choices, smallest, device):
                    for number, batch in enumerate(steps[step], start=step * choices.accumulate):
                        asked = time.monotonic()
                        clip, labels = next(feed)  # uint8 (B, C, T, H, W), (B,)
                        at.waited += time.monotonic() - asked
                        mix = None
                        if choices.mixup > 0:
                            mix = draw_mix(len(clip), choices.mixup, seed, at.epoch, number)
                        # a process without a clip of a short batch runs a stand-in that counts nothing
                        counted = 1.0 if share(batch, processes.rank, processes.count) else 0.0
                        totals += counted * learn(clip, labels, mix, counted / step_clips)
                    add_up(totals, processes)
                    loss, hits = totals.tolist()
                    if not math.isfinite(loss):
                        raise not_finite("the loss is", where, factor, choices)
                    add_up_gradients(model.parameters(), processes)
                    if choices.clip_gradient > 0:
                        scaler.unscale_(optimizer)
                        nn.utils.clip_grad_norm_(model.parameters(), choices.clip_gradient)
                    scaler.step(optimizer)
                    scaler.update()
                    constrain(model, choices)
                    optimizer.zero_grad(set_to_none=True)

                at.step, at.taken = step + 1, at.taken + 1
                at.loss, at.hits, at.clips = at.loss + loss, at.hits + hits, at.clips + step_clips
                if average is not None:
                    update_average(average, model, choices.ema, at.taken)
                board_step(board, at.taken, loss / step_clips, rates)
                _show(progress if processes.is_first else None, at, choices, budget, factor)
                if at.step < len(steps) and time.monotonic() - saved >= 60 * checkpoint_minutes:
                    at.seconds, clock = at.seconds + time.monotonic() - clock, time.monotonic()
                    save()
                    saved = time.monotonic()

            # the epoch is over: is it the best so far?
            if at.epoch in checks and not all(p.isfinite().all() for p in model.parameters()):
                raise not_finite("the weights are", where, factor, choices)
            copy_from_first(model.buffers(), processes)
            accuracy = None
            if validate is not None and at.epoch in checks:
                model.eval()
                held = None
                with averaged(model, average), torch.no_grad():
                    accuracy = say_from_first(
                        float(validate(model, at.epoch)) if processes.is_first else 0.0, processes
                    )
                    if not math.isfinite(accuracy):
                        raise TimeliftError(
                            f"validation gave {accuracy} after epoch {at.epoch}, wanted a number"
                        )
                    better = at.best_accuracy is None or accuracy > at.best_accuracy
                    if better:
                        at.best_accuracy, at.best_epoch = accuracy, at.epoch
                    if better and keep_best:
                        best_weights = {n: t.detach().cpu().clone() for n, t in model.state_dict().items()}
                if choices.schedule == "plateau":
                    at.plateau = after_epoch(at.plateau, better, choices)
                if choices.schedule == "stall":
                    before = [
                        row.validation_accuracy for row in at.history if row.validation_accuracy is not None
                    ]
                    at.plateau = after_check(at.plateau, not before or accuracy > before[-1], choices)
                patience = choices.early_stopping_patience
                at.stopped = 0 < patience <= at.epoch - at.best_epoch and at.epoch < budget.epochs

            at.seconds, clock = at.seconds + time.monotonic() - clock, time.monotonic()
            row = EpochRow(
                epoch=at.epoch,
                step=at.taken,
                learning_rate_new=rates["new"],
                learning_rate_lifted=rates["lifted"],
                learning_rate_kept=rates["kept"],
                loss=at.loss / at.clips,
                accuracy=at.hits / at.clips,
                validation_accuracy=accuracy,
                seconds=at.seconds - sum(earlier.seconds for earlier in at.history),
                seconds_waiting=at.waited,
            )
            at.history.append(row)
            if processes.is_first:
                append_log(folder / "log.csv", row)
                board_epoch(board, row)
            _show(progress if processes.is_first else None, at, choices, budget, factor)
            at.epoch, at.step, at.loss, at.hits, at.clips = at.epoch + 1, 0, 0.0, 0.0, 0
            at.waited = 0.0
            due = min(60 * checkpoint_minutes, saving / SHARE_FOR_CHECKPOINTS)
            if is_finished(at, budget.epochs) or time.monotonic() - saved >= due:
                began = time.monotonic()
                save()
                saved = time.monotonic()
                saving = saved - began

    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)
    if best_weights is not None:
        model.load_state_dict(best_weights)
    elif average is not None:
        put_average(model, average)
    model.eval()

    return conclude(at, choices, budget.epochs, validate is not None and keep_best, notes)


def _show(
    progress: Callable[[ProgressEvent], None] | None,
    at: Standing,
    choices: Optimisation,
    budget: Budget,
    factor: float,
) -> None:
    if progress is not None:
        progress(
            ProgressEvent(
                epoch=at.epoch,
                epochs=budget.epochs,
                step=at.step,
                steps=budget.steps_per_epoch,
                loss=at.loss / at.clips,
                accuracy=at.hits / at.clips,
                learning_rate=choices.learning_rate * factor,
                validation_accuracy=at.history[-1].validation_accuracy if at.history else None,
                best_epoch=at.best_epoch,
            )
        )
