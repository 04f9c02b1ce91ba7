"""`timelift demo`: from nothing to a page that says which of two networks is better, and why."""

import time
from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Device, counting, say

LENET = "lenet5_3d"
LITE0 = "timm:tf_efficientnet_lite0"


def command(
    output: Annotated[Path, typer.Option(help="The folder for videos, runs and page.")] = Path("demo"),
    seeds: Annotated[int, typer.Option(help="Paired runs of every variant.", min=1)] = 5,
    videos_per_class: Annotated[int, typer.Option(help="Training videos of each digit.", min=1)] = 5,
    workers: Annotated[
        int | None, typer.Option(help="Local processes; by default one a core.", min=1)
    ] = None,
    device: Device = "auto",
) -> None:
    """Compare two networks on Video-MNIST, from nothing to a page, in minutes.

    LeNet-5-3D from random weights, against an ImageNet network lifted into time. Nothing is downloaded: the
    digits and the weights come with the packages of the extra `demo`.

    Example: timelift demo --output demo/
    """
    from timelift.cli.report import print_and_write
    from timelift.cli.watching import described, watching
    from timelift.comparison.study import Study
    from timelift.data.digits import carried_digits
    from timelift.data.video_mnist import write_dataset
    from timelift.records.recipe import parse_recipe
    from timelift.runs.devices import default_workers
    from timelift.runs.study import open_study, prepare_study, run_study
    from timelift.runs.surroundings import pick_device

    started = time.perf_counter()
    where = pick_device(device)
    videos = output / "video-mnist"
    if not (videos / "manifest.csv").is_file():
        limit = {"train": 1000, "val": 0, "test": 100}
        with counting("making Video-MNIST", sum(limit.values())) as progress:
            write_dataset(videos, carried_digits(), limit=limit, progress=progress)
    study = Study(
        name="Video-MNIST demo",
        data=str((videos / "manifest.csv").resolve()),
        variants=(LENET, f"{LITE0} Factorize(frames=3) @ top(0.2)"),
        seeds=seeds,
        videos_per_class=videos_per_class,
        selection="last",
        recipe=parse_recipe(RECIPE),
    )
    folder = output / "study"
    study = open_study(study, folder)
    with counting("scanning", None) as scanning, counting("decoding", None) as decoding:
        prepare_study(study, folder, say, scanning, decoding)
    count = workers or default_workers(where)
    say(f"{described(study)} in {count} process(es) on {where}")
    with watching(study) as watch:
        run_study(study, folder, count, where, watch)
    print_and_write(folder)
    print(f"the demo took {time.perf_counter() - started:.0f} s")


RECIPE = {
    "clip": {"frames": 12, "stride": 2, "short_side": 28, "size": 28, "channels": 1},
    "augmentation": {"random_crop": False, "flip": 0.0, "temporal_jitter": False, "translate": 0.1},
    "training": {
        "epochs": 10,
        "batch_size": 10,
        "learning_rate": 0.003,
        "kept_rate": 0.1,
        "lifted_rate": 0.1,
    },
}
