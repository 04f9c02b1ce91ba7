"""`timelift inspect`: what a lift did, layer by layer, and how far that is from the image network."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from timelift.cli.common import Seed


def command(
    variant: Annotated[
        str, typer.Argument(help='A variant, as "timm:resnet18(weights=None) Inflate(frames=3) @ first(2)".')
    ],
    classes: Annotated[int, typer.Option(help="Classes of the last layer.", min=1)] = 10,
    channels: Annotated[int | None, typer.Option(help="Channels of the input; 3, or the system's.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of the clip; 8, or the system's.")] = None,
    size: Annotated[int | None, typer.Option(help="Height and width; 112, or the system's.")] = None,
    seed: Seed = 0,
) -> None:
    """Print the receipt of a lift, measured against the image network.

    Example: timelift inspect "timm:tf_efficientnet_lite0 Inflate(frames=3, start='negative') @ first(2)"
    """
    import torch

    from timelift.clip import Clipwise
    from timelift.systems import SYSTEMS
    from timelift.variants import build_image, build_variant, parse_variant

    parsed = parse_variant(variant)
    usual = SYSTEMS[parsed.network].clip if parsed.is_system else (3, 8, 112, 112)
    channels, frames, size = channels or usual[0], frames or usual[1], size or usual[2]
    torch.manual_seed(seed)
    video = build_variant(parsed, classes, channels, frames, size).eval()
    table = Table(title=str(parsed), title_justify="left")
    for heading in ("layer", "stage", "rule", "parameters", "kept", "lifted", "new", "padding in time"):
        table.add_column(heading, overflow="fold")
    for row in video.receipt.converted:
        change = f"{row.parameters_before:,} -> {row.parameters_after:,}"
        tensors = (", ".join(names) for names in (row.kept, row.lifted, row.new))
        table.add_row(row.layer, str(row.stage), row.rule, change, *tensors, row.padding)
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    if video.receipt.converted:
        out.print(table)
    print(f"{len(video.receipt.framewise)} convolution(s) run on every frame alone")
    for note in video.receipt.notes:
        print(note)
    print(f"{video.receipt.parameters_before:,} -> {video.receipt.parameters_after:,} parameters")
    if parsed.is_system:
        return
    torch.manual_seed(seed)
    image = build_image(parsed, classes, channels).eval()
    if not any(isinstance(module, Clipwise) for module in video.modules()):
        print("nothing is converted: the network answers every frame as the image network does")
    generator = torch.Generator().manual_seed(seed)
    frame = torch.randn(1, channels, size, size, generator=generator)
    with torch.inference_mode():
        still = video(frame.unsqueeze(2).expand(-1, -1, frames, -1, -1))
        alone = image(frame)
    difference = float((still - alone).abs().max() / alone.abs().max())
    still_clip = f"still clip of {frames} frames, {size} px"
    print(f"{still_clip}: logits differ from the image network's by {difference:.1e} (relative)")
