"""`timelift probe`: a linear classifier on stored features."""

from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import needs_new


def command(
    features: Annotated[
        list[Path], typer.Argument(help="Files of `timelift features`; several stand side by side.")
    ],
    output: Annotated[Path, typer.Option(help="The folder to write, like a run's; `fuse` takes it.")] = Path(
        "probe"
    ),
    classifier: Annotated[
        str, typer.Option(help="logistic, or svm (linear, rows at length 1).")
    ] = "logistic",
) -> None:
    """Fit a linear classifier on train, choose its C on val, and test it once.

    Without val videos C is chosen by cross-validation on train, no group on both sides.

    Example: timelift probe fc6.npz --classifier svm --output c3d-fc6/
    """
    from timelift.records.features import read_features
    from timelift.runs.probe_features import probe_features

    needs_new(output, "run.json")
    run = probe_features([read_features(path) for path in features], classifier, output)
    for name, value in run.metrics.items():
        print(f"{name} {value:.4f}")
    print(f"{run.selection}; wrote {output}/")
