"""Who runs the cells of a study: processes on this machine, or a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timelift.records.errors import UsageError

if TYPE_CHECKING:
    import torch

    from timelift.comparison.study import Study


@dataclass(frozen=True)
class Crew:
    """What it is, in words, and what runs all cells of a study that are not done."""

    words: str
    run: Callable[["Study", Path, Any], None]  # study, its folder, what is called meanwhile


@contextmanager
def crew(on: str, workers: int | None, device: str) -> Iterator[Crew]:
    """The crew that was asked for, for as long as the block lasts.

    Raises:
        UsageError: for one that there is not.
    """
    if on == "local":
        yield _local(*processes(workers, device))
    elif on == "ray":
        from timelift.runs.on_ray import disconnect

        try:
            yield _on_ray(workers, device)
        finally:
            disconnect()
    else:
        raise UsageError(f"--on {on}: wanted local or ray")


def processes(workers: int | None, device: str) -> tuple[int, "torch.device"]:
    """How many local processes, and the device that they share out."""
    from timelift.runs.devices import default_workers
    from timelift.runs.surroundings import pick_device

    where = pick_device(device)
    return workers or default_workers(where), where


def _local(workers: int, device: "torch.device") -> Crew:
    from timelift.runs.study import run_study

    return Crew(
        f"in {workers} process(es) on {device}",
        lambda study, folder, watch: run_study(study, folder, workers, device, watch),
    )


def _on_ray(workers: int | None, device: str) -> Crew:
    from timelift.runs.on_ray import connect, run_on_ray
    from timelift.runs.study import complete_study

    cluster = connect(workers, device)
    return Crew(
        str(cluster),
        lambda study, folder, watch: complete_study(
            study, folder, lambda watch: run_on_ray(folder, cluster, watch), watch
        ),
    )
