"""Classes of unequal size: their clips drawn as often, or their losses weighed alike."""

from collections.abc import Sequence

import torch
from torch import Tensor

from timelift.records import Optimisation, UsageError
from timelift.training.seeds import generator


def check_labels(choices: Optimisation, labels: Sequence[int] | None, clips: int) -> None:
    """Refuse choices that need the clips' labels where these are not known.

    Raises:
        UsageError: naming the choice.
    """
    for name in ("sampling", "class_weights"):
        if getattr(choices, name) == "balanced" and (labels is None or len(labels) != clips):
            told = "none (several classes a clip have none)" if labels is None else str(len(labels))
            raise UsageError(
                f"recipe: training.{name} is 'balanced', which needs the label of each of the {clips} "
                f"training clips, and {told} came"
            )


def balanced_batches(
    batches: list[list[int]], labels: Sequence[int], seed: int, epoch: int
) -> list[list[int]]:
    """Batches of the same sizes in which every class comes as often, give or take one clip.

    A class's clips come in turn, in an order drawn anew each round; the k-th repeat of clip i in the epoch is
    numbered i + k * len(labels), so that it can be augmented otherwise. What is drawn depends on seed and
    epoch alone.
    """
    draws = generator(seed, "balance", epoch)
    of_class: dict[int, list[int]] = {}
    for clip, label in enumerate(labels):
        of_class.setdefault(label, []).append(clip)
    order = torch.randperm(len(of_class), generator=draws).tolist()  # who gets what is left over
    names, total = sorted(of_class), sum(map(len, batches))
    drawn: list[int] = []
    for place, which in enumerate(order):
        count = total // len(names) + (place < total % len(names))
        drawn += _in_turn(of_class[names[which]], count, len(labels), draws)
    mixed = iter([drawn[i] for i in torch.randperm(total, generator=draws).tolist()])
    return [[next(mixed) for _ in batch] for batch in batches]


def _in_turn(clips: list[int], count: int, apart: int, draws: torch.Generator) -> list[int]:
    found: list[int] = []
    for repeat in range(-(-count // len(clips))):
        order = torch.randperm(len(clips), generator=draws).tolist()
        found += [clips[i] + repeat * apart for i in order]
    return found[:count]


def balanced_weights(labels: Sequence[int]) -> Tensor:
    """(highest label + 1,): clips / (classes * clips of the class); 0 for a class without clips."""
    counts = torch.bincount(torch.tensor(labels)).float()
    there = counts > 0
    return torch.where(there, len(labels) / (there.sum() * counts.clamp(min=1)), 0.0)
