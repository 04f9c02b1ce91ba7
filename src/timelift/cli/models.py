"""`timelift models`: the named systems; with timm:PATTERN or torchvision:PATTERN, image networks."""

import inspect
from typing import Annotated

import typer

from timelift.records.errors import UsageError


def command(
    pattern: Annotated[str, typer.Argument(help="*, lenet*, timm:resnet*, torchvision:*")] = "*",
) -> None:
    """List the named systems, and image networks by pattern.

    Example: timelift models "timm:resnet*"
    """
    kind, colon, rest = pattern.partition(":")
    names = _image_networks(kind, rest or "*") if colon else _systems(pattern)
    if not names:
        raise UsageError(
            f"nothing matches {pattern!r}: try timelift models, or timelift models 'timm:resnet*'"
        )
    print("\n".join(names))
    if not colon:
        print("\nany image network, lifted: timelift models 'timm:resnet*', or 'torchvision:*'")


def _systems(pattern: str) -> list[str]:
    from timelift.evaluation.cost import parameters
    from timelift.systems import SYSTEMS, create_model, list_models

    return [
        f"{name:24} {parameters(create_model(name)):>12,} parameters   {inspect.getdoc(SYSTEMS[name])}"
        for name in list_models(pattern)
    ]


def _image_networks(kind: str, pattern: str) -> list[str]:
    from timelift.networks.images import list_image_networks

    return list_image_networks(kind, pattern)
