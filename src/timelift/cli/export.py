"""`timelift export`: a trained network as a file for other run-times, compared before it is there."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    output: Annotated[Path, typer.Option(help="The file to write: .pt2, .onnx or .xml (with .bin beside).")],
    format: Annotated[
        str | None, typer.Option(help="torch, onnx or openvino; what the file's suffix says if not given.")
    ] = None,
    step: Annotated[
        bool,
        typer.Option("--step", help="One step of a stream, with its states as inputs and outputs."),
    ] = False,
) -> None:
    """Write a trained network for other run-times: torch.export, ONNX, OpenVINO.

    The file takes uint8 pixels, any number of clips at once, and `timelift predict` runs it. It is written
    only if its answers are the network's own.

    Example: timelift export run/ --format onnx --output run.onnx
    """
    from timelift.deploy.export import export, export_step
    from timelift.runs.saved import load

    made = (export_step if step else export)(load(run), output, format)
    facts = made.facts
    shape = ", ".join(("B", *map(str, facts.shape)))
    print(
        f"takes {'a frame' if step else 'clips'} ({shape}) of {facts.takes}, for any B; answers as the "
        f"network does, within {made.difference:.1e} of the largest; wrote {made.path}"
    )
