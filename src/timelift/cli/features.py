"""`timelift features`: what a layer of a network says of every video, one row a video."""

from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import (
    Data,
    Device,
    Limit,
    OfficialList,
    RecipeFile,
    Settings,
    chosen_recipe,
    counting,
)


def command(
    network: Annotated[str, typer.Argument(help="The folder of a run, or a variant as `train` takes it.")],
    data: Data,
    output: Annotated[Path, typer.Option(help="The file to write (npz).")] = Path("features.npz"),
    layer: Annotated[
        str, typer.Option(help="As `timelift inspect` names it; without it, what the last layer gets.")
    ] = "",
    split: Annotated[str, typer.Option(help="train, val, test, or all.")] = "all",
    recipe: RecipeFile = None,
    settings: Settings = None,
    bad_videos: Annotated[str, typer.Option(help="error, exclude or keep-readable.")] = "error",
    official_list: OfficialList = 1,
    device: Device = "auto",
    limit: Limit = None,
) -> None:
    """Write clip features of any layer, averaged over space, time and views.

    Example: timelift features run/ videos/ --layer head.relu6 --output fc6.npz
    """
    from timelift.cli.videos import usable_videos
    from timelift.records import ClipFormat
    from timelift.records.errors import UsageError
    from timelift.records.features import write_features
    from timelift.runs.features import take_features
    from timelift.runs.surroundings import pick_device

    if output.suffix != ".npz":
        raise UsageError(f"--output {output}: features are written as npz, as features.npz")
    chosen = chosen_recipe(recipe, settings)
    if (Path(network) / "model.json").is_file() and chosen.clip != ClipFormat():
        raise UsageError(f"{network} is a run, which has its own clips: leave out what is set of clip")
    manifest = usable_videos(data, split, official_list=official_list, limit=limit, bad_videos=bad_videos)
    with counting("features", len(manifest.videos)) as progress:
        features = take_features(
            network,
            manifest,
            layer,
            chosen.clip,
            chosen.views,
            pick_device(device),
            lambda done, of: progress(done),
        )
    write_features(features, output)
    videos, numbers = features.rows.shape
    print(f"{numbers} numbers ({features.layer}) of {videos} videos; wrote {output}")
