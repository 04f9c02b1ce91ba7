"""Prints every promise of the statistics with what simulated studies give; exit 1 if one is broken."""

import argparse
import sys
import time

import numpy as np

from timelift.comparison.calibrate import new_videos, these_videos
from timelift.comparison.calibrate.criteria import Criterion, to_markdown
from timelift.comparison.calibrate.expected import with_accuracy
from timelift.comparison.calibrate.rivals import METHODS, WORLDS, false_verdicts
from timelift.comparison.simulate import World

SEED = 20240
STUDIES = 10_000
TEST_SETS = {  # share right, and the world before it is made easier or harder
    "74 % of 294 videos": (0.74, World(seed=0.2)),
    "97 % of 100 videos": (0.97, World(seed=0.2, sizes=(5,) * 20)),
    "99 % of 1,000 videos": (0.99, World(seed=0.2, sizes=(10,) * 100)),
}


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m timelift.comparison.calibrate", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help="simulated studies of every kind")
    studies = parser.parse_args(arguments).studies
    start = time.process_time()
    print(f"Percent of {studies:,} simulated studies, ± standard error; seed {SEED}.")
    print("\nOn exactly these videos, trained again: the paired t over runs.\n")
    on_these = on_these_videos(studies)
    print(to_markdown(on_these), flush=True)
    print("\nOn new videos like these, trained again: the verdict, over seeds and groups of videos.\n")
    on_new = on_new_videos(studies)
    print(to_markdown(on_new), flush=True)
    print("\nFalse verdicts on new videos at 5 %, by the verdict (last) and by other methods.\n")
    print(rivals_markdown(studies), flush=True)
    broken = sum(not one.holds for one in (*on_these, *on_new))
    promised = sum(bool(one.wanted) for one in (*on_these, *on_new))
    seconds = time.process_time() - start
    print(f"\n{promised - broken} of {promised} promises hold. {seconds:.0f} s on one core.")
    return int(broken > 0)


def on_these_videos(studies: int) -> list[Criterion]:
    """Every criterion of the paired t over runs."""
    rng = np.random.default_rng(SEED)
    found: list[Criterion] = []
    for name, (accuracy, world) in TEST_SETS.items():
        drawn = these_videos.draw_studies(with_accuracy(world, accuracy), studies, rng)
        found += these_videos.criteria(name, drawn, rng)
    return found


def on_new_videos(studies: int) -> list[Criterion]:
    """Every criterion of the verdict."""
    rng = np.random.default_rng(SEED)
    found: list[Criterion] = []
    for name, (accuracy, world) in TEST_SETS.items():
        found += new_videos.criteria(
            name, new_videos.draw_verdicts(with_accuracy(world, accuracy), studies, rng)
        )
    return found


def rivals_markdown(studies: int) -> str:
    """A line for each world, a column for each method."""
    lines = [f"| | {' | '.join(METHODS)} |", "|---|" + "---:|" * len(METHODS)]
    for name, world in WORLDS.items():
        rates = false_verdicts(world, studies, np.random.default_rng(SEED)).values()
        cells = (f"{100 * rate:.1f} ± {100 * np.sqrt(rate * (1 - rate) / studies):.1f}" for rate in rates)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
