"""What a run costs, recorded with it: multiply-adds against a count by hand, a latency with few forwards."""

import pytest
from torch import nn

from test_report import fabricated_run
from timelift.clip import OnFrames
from timelift.evaluation.cost import latency, multiply_adds
from timelift.records import UsageError
from timelift.records.recipe import ClipFormat, Recipe
from timelift.runs.train_one import _with_cost
from timelift.variants import build_variant, parse_variant


class Counting(nn.Conv3d):
    """A layer that counts its forwards, and says in which mode they were."""

    def __init__(self):
        super().__init__(1, 2, 1)
        self.modes = []

    def forward(self, clip):
        self.modes.append(self.training)
        return super().forward(clip)


def test_latency_is_a_median_of_few_forwards_in_eval_mode():
    model = Counting().train()
    assert latency(model, (1, 2, 3, 3), forwards=4) > 0
    assert model.modes == [False] * 5  # one that is not counted
    assert model.training
    model.modes.clear()
    assert latency(model, (1, 2, 3, 3), budget=0.0) > 0
    assert len(model.modes) == 2
    with pytest.raises(UsageError, match="wanted"):
        latency(model, (1, 1, 2, 3, 3))


def test_an_image_network_costs_its_frames():
    image = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 5 * 5, 6))
    frame = 5 * 5 * 4 * 27 + 100 * 6
    assert multiply_adds(OnFrames(image), (3, 7, 5, 5)) == 7 * frame


def test_a_run_is_recorded_with_its_cost():
    variant = parse_variant("lenet5_3d(channels=(2, 3))")
    run = fabricated_run(str(variant), 0, recipe=Recipe(clip=ClipFormat(frames=12, size=28, channels=1)))
    model = build_variant(variant, 3, 1, 12, 28)
    found = _with_cost(run, model)
    assert found.multiply_adds == multiply_adds(model, (1, 12, 28, 28))
    assert found.latency > 0
