"""How long a run trains: epochs, or optimiser steps whatever the number of videos."""

import math
from dataclasses import dataclass

from timelift.records import Optimisation


@dataclass(frozen=True)
class Budget:
    """So many optimiser steps in all; the last epoch ends where they end."""

    steps: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """Begun ones: the last may be cut."""
        return math.ceil(self.steps / self.steps_per_epoch)

    def steps_of(self, epoch: int) -> int:
        """Optimiser steps of an epoch, counted from 1."""
        return min(self.steps_per_epoch, self.steps - (epoch - 1) * self.steps_per_epoch)


def budget_of(choices: Optimisation, steps_per_epoch: int) -> Budget:
    """What the recipe says, for a set of videos that gives so many steps an epoch."""
    return Budget(choices.steps or choices.epochs * steps_per_epoch, steps_per_epoch)
