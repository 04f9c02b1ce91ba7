"""`timelift evaluate`: a trained network on labelled videos, by every metric, at both levels."""

from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Data, Device, Limit, OfficialList, counting, limited, say


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    data: Data,
    output: Annotated[Path, typer.Option(help="The predictions to write (npz).")] = Path("predictions.npz"),
    split: Annotated[str, typer.Option(help="train, val, test, or all.")] = "test",
    clips: Annotated[int, typer.Option(help="Clips a video; 0 slides over it.", min=0)] = 1,
    crops: Annotated[str, typer.Option(help="centre, three or ten.")] = "centre",
    window_stride: Annotated[
        int, typer.Option(help="Frames between sliding windows, with --clips 0.", min=0)
    ] = 0,
    fusion: Annotated[
        str, typer.Option(help="Of a video's views: mean, or sci (by how sure each is).")
    ] = "mean",
    bad_videos: Annotated[str, typer.Option(help="error, exclude or keep-readable.")] = "error",
    official_list: OfficialList = 1,
    device: Device = "auto",
    limit: Limit = None,
) -> None:
    """Judge a trained network on labelled videos.

    Example: timelift evaluate run/ videos/ --clips 10 --crops three
    """
    from timelift.data.dataset import EvaluationClips
    from timelift.data.frames import DecodedOnDemand
    from timelift.data.layouts import read_dataset
    from timelift.data.scan import scan, usable
    from timelift.evaluation.evaluate import evaluate
    from timelift.evaluation.metrics import summary
    from timelift.records import DataError, Recipe
    from timelift.records.predictions import write_predictions
    from timelift.records.recipe import parse_recipe, recipe_to_dict
    from timelift.runs.saved import load
    from timelift.runs.surroundings import pick_device

    where = pick_device(device)
    model = load(run).to(where)
    clip, normalise = model.transform.clip, model.transform.normalise
    views = {"clips": clips, "crops": crops, "window_stride": window_stride, "fusion": fusion}
    recipe = parse_recipe({**recipe_to_dict(Recipe(clip=clip)), "views": views})
    found = read_dataset(data, official_list=official_list)
    say(f"{found.kind}: {len(found.manifest.videos)} videos of {len(found.manifest.classes)} classes")
    manifest = limited(found.manifest if split == "all" else _part(found.manifest, split), limit)
    if set(manifest.classes) != set(model.classes):
        other = sorted(set(manifest.classes) ^ set(model.classes))
        raise DataError(
            f"the data's classes are not the run's: {', '.join(other[:5])} stand on one side only"
        )
    if any(video.status == "unscanned" for video in manifest.videos):
        with counting("scanning", len(manifest.videos)) as progress:
            manifest = scan(manifest, progress=progress)
    manifest, notes = usable(manifest, bad_videos)  # type: ignore[arg-type]
    for note in notes:
        say(note)
    source = EvaluationClips(manifest, recipe, DecodedOnDemand(manifest, clip))
    with counting("judging", len(manifest.videos)) as progress:
        answers = evaluate(
            model,
            source,
            manifest,
            normalise=normalise,
            device=where,
            progress=lambda done, of: progress(done),
            fusion=recipe.views.fusion,
        )
    write_predictions(answers, output)
    for name, value in summary(answers).items():
        print(f"{name} {value:.4f}")
    print(f"{len(manifest.videos)} videos; wrote {output}")


def _part(manifest, split: str):
    from timelift.records import DataError

    part = manifest.of_split(split)
    if part.videos:
        return part
    there = sorted({video.split or "none" for video in manifest.videos})
    raise DataError(
        f"no video is in the split {split!r}; there are {', '.join(there)}: give --split, or --split all"
    )
