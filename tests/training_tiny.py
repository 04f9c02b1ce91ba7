"""Tiny clips and networks for the training tests; run as a program, one process of a run."""

import dataclasses
import os
import sys
from pathlib import Path

import torch
from torch import nn

from timelift.records import Optimisation, Recipe
from timelift.training import train

PLAIN = Optimisation(
    optimizer="sgd",
    learning_rate=0.1,
    lifted_rate=1.0,
    kept_rate=1.0,
    momentum=0.9,
    weight_decay=0.0,
    schedule="constant",
    warmup_epochs=0.0,
    epochs=2,
    batch_size=4,
    label_smoothing=0.0,
    norm_statistics="batch",
)


class TinyClips:
    """Noise whose brightness tells the class; every epoch draws anew, from (seed, epoch, index) alone."""

    def __init__(self, count: int = 8, classes: int = 3):
        self.count, self.classes, self.epoch = count, classes, 0
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.asked.append((self.epoch, index))
        label = index % self.classes
        generator = torch.Generator().manual_seed(1000 * self.epoch + index)
        clip = torch.randint(0, 40, (2, 3, 8, 8), generator=generator) + 60 * label
        return clip.to(torch.uint8), label


def tiny_network(norm: str = "group", dropout: float = 0.0) -> nn.Sequential:
    """conv - norm - relu - pool - head, with fixed random weights."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1),
        nn.GroupNorm(2, 4) if norm == "group" else nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


GROUPS = {
    "0.weight": "lifted",
    "0.bias": "kept",
    "1.weight": "kept",
    "1.bias": "kept",
    "6.weight": "new",
    "6.bias": "new",
}


def normalise(batch: torch.Tensor) -> torch.Tensor:
    return batch.float() / 255 - 0.4


def run(folder: Path, model: nn.Module | None = None, clips=None, validate=None, **changes):
    """Train a tiny network; gives model and result. `changes`: fields of Optimisation, arguments of train."""
    fields = {f.name for f in dataclasses.fields(Optimisation)}
    choices = dataclasses.replace(PLAIN, **{k: v for k, v in changes.items() if k in fields})
    rest = {"seed": 5, "groups": GROUPS} | {k: v for k, v in changes.items() if k not in fields}
    model = tiny_network() if model is None else model
    result = train(
        model,
        TinyClips() if clips is None else clips,
        Recipe(training=choices),
        folder,
        normalise=normalise,
        validate=validate,
        device=torch.device("cpu"),
        **rest,
    )
    return model, result


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same_bytes(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def evenly(model: nn.Module, epoch: int) -> float:
    """A validation accuracy that falls from epoch 2 on."""
    return 1.0 / (1 + abs(epoch - 2))


CASES = {
    "plain": {},
    "freeze": {"freeze_kept_steps": 2, "freeze_lifted_steps": 3, "clip_gradient": 0.5, "ema": 0.9},
    "slow": {"epochs": 120, "ema": 0.9, "mixup": 0.3},
}

if __name__ == "__main__":
    # training_tiny.py FOLDER BATCH CASE...: what each of torchrun's processes does, or one process alone
    torch.set_num_threads(1)
    rank = os.environ.get("RANK", "0")
    for case in sys.argv[3:]:
        folder = Path(sys.argv[1]) / case
        model = tiny_network()
        if rank != "0":  # the first process's start is everyone's
            nn.init.zeros_(model[0].weight)
        _, result = run(folder, model, clips=TinyClips(9), batch_size=int(sys.argv[2]), **CASES[case])
        torch.save({"weights": weights(model), "loss": result.history[-1].loss}, folder / f"result-{rank}.pt")
