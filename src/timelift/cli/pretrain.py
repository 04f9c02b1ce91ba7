"""`timelift pretrain`: a composite LSTM on clips without labels, whose encoder then starts a classifier."""

from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import (
    Data,
    Device,
    Limit,
    OfficialList,
    RecipeFile,
    Seed,
    Settings,
    chosen_recipe,
    counting,
    say,
)


def command(
    data: Data,
    output: Annotated[Path, typer.Option(help="The weights to write (safetensors).")],
    network: Annotated[
        str, typer.Option(help="The image network whose features frames become, as timm:NAME; else pixels.")
    ] = "",
    past: Annotated[int, typer.Option(help="Frames that are shown and rebuilt.", min=1)] = 8,
    future: Annotated[int, typer.Option(help="Frames that are predicted.", min=1)] = 8,
    hidden: Annotated[int, typer.Option(help="Hidden units of every LSTM.", min=1)] = 2048,
    layers: Annotated[int, typer.Option(help="Layers of every LSTM.", min=1)] = 1,
    epochs: Annotated[int, typer.Option(help="Clips of every video.", min=1)] = 10,
    batch_size: Annotated[int, typer.Option(help="Clips a step.", min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 1e-3,
    recipe: RecipeFile = None,
    settings: Settings = None,
    bad_videos: Annotated[str, typer.Option(help="error, exclude or keep-readable.")] = "error",
    official_list: OfficialList = 1,
    device: Device = "auto",
    seed: Seed = 0,
    limit: Limit = None,
) -> None:
    """Train a composite LSTM on clips without labels (Srivastava et al. 2015).

    Labels are not learnt from. What `train` and `compare` judge by, as they split the data, is not seen: only
    their training videos are learnt from, and their validation videos say how well it goes.

    Example: timelift pretrain videos/ --network timm:resnet18 --hidden 256 --output encoder.safetensors
    """
    from timelift.cli.videos import usable_videos
    from timelift.data.cache import open_frames
    from timelift.records.errors import UsageError
    from timelift.runs.pretrain import Pretraining, clips_of, learnt_from, pretrain, write_composite
    from timelift.runs.surroundings import pick_device

    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: weights are written as safetensors, as encoder.safetensors")
    choices = Pretraining(
        past=past,
        future=future,
        hidden=hidden,
        layers=layers,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        network=network,
    )
    chosen = chosen_recipe(recipe, settings)
    videos = usable_videos(data, "all", official_list=official_list, limit=limit, bad_videos=bad_videos)
    train, val, told = learnt_from(videos)
    say(told)
    seen = videos.with_videos((*train.videos, *val.videos))
    with counting("decoding", len(seen.videos)) as decoding:
        frames, why = open_frames(seen, clips_of(choices, chosen.clip), progress=decoding)
    say(why)
    with counting("training", epochs, "epochs") as progress:

        def show(row) -> None:
            progress(row.epoch)
            held = "" if row.held_out is None else f", held out {row.held_out:.4g} (still: {row.still:.4g})"
            print(f"epoch {row.epoch}: loss {row.train:.4g}{held}")

        model = pretrain(
            choices, chosen, train, val, frames, seed=seed, device=pick_device(device), progress=show
        )
    write_composite(model, output)
    print(f"{len(train.videos)} videos; wrote {output}")
    print(f'train with --variant "{_classifier(network, output, hidden, layers)}"')


def _classifier(network: str, output: Path, hidden: int, layers: int) -> str:
    """The variant that starts from the encoder."""
    more = f", hidden={hidden}" + (f", layers={layers}" if layers > 1 else "")
    if network:
        start = f"network={network!r}, weights='imagenet', encoder={str(output)!r}"
        return f"lrcn({start}{more}, peepholes=True)"
    return f"composite_lstm(weights={str(output)!r}{more})"
