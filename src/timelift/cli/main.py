"""`timelift VERB ...`: exit code 0, 1 for bad data, 2 for wrong use; one clear line for a user's error."""

import os
import signal
import sys
from importlib import import_module

import typer

from timelift.memory import keep_memory
from timelift.records.errors import TimeliftError
from timelift.records.whole import has_no_room

_VERBS = {
    "demo": "Compare two networks on Video-MNIST, from nothing to a page, in minutes.",
    "models": "List the named systems, and image networks by pattern.",
    "inspect": "Print the receipt of a lift, measured against the image network.",
    "scan": "Decode every video once and write the manifest.",
    "split": "Split videos into train, val and test by group.",
    "flow": "Compute the optical flow of every video, as a data set of its own.",
    "train": "Train one variant on labelled videos.",
    "pretrain": "Train a composite LSTM on clips without labels, to start a classifier from.",
    "evaluate": "Judge a trained network on labelled videos.",
    "predict": "Say what videos show: top classes over time.",
    "stream": "Follow a video or a camera: top classes as it comes.",
    "features": "Write what a network's layer says of every video.",
    "probe": "Fit a linear classifier on features, and test it once.",
    "fuse": "Fuse finished runs from what they answered, and say what that gains.",
    "compare": "Compare variants with paired seeds, and say what can be concluded.",
    "report": "Write the page, the CSV and the Markdown of a study.",
    "video-mnist": "Make the Video-MNIST data set (Ras et al. 2018).",
    "export": "Write a trained network for other run-times: torch.export, ONNX, OpenVINO.",
    "optimize": "Find a trained network's quickest form for inference, by measuring.",
    "bench": "Time our parts against their plain counterparts, on this machine.",
    "shards": "Pack videos into tar archives that every verb reads.",
    "cache": "Show or clear the cache of decoded frames.",
}


def main(arguments: list[str] | None = None) -> None:
    """Run one verb; only its own file is imported."""
    keep_memory()
    given = sys.argv[1:] if arguments is None else arguments
    verb = next((word for word in given if not word.startswith("-")), None)
    try:
        _app(verb)(args=given, prog_name="timelift")
    except TimeliftError as error:
        _complain(str(error))
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:  # as in `timelift predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        if not has_no_room(error):
            raise
        where = f" for {error.filename}" if error.filename else ""
        _complain(f"no room{where} ({error.strerror}): make room, what was finished is kept")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _complain("stopped; what was finished is kept, the same command goes on from there")
        raise SystemExit(130) from None


def _app(verb: str | None) -> typer.Typer:
    """The command line with one verb loaded and the others listed."""
    app = typer.Typer(
        name="timelift",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
    )
    app.callback()(_about)  # with it, typer keeps verbs apart even when only one is registered
    for name in [verb] if verb in _VERBS else _VERBS:
        module = import_module(f"timelift.cli.{name.replace('-', '_')}") if name == verb else None
        command = module.command if module is not None else _only_listed
        app.command(name, help=None if module is not None else _VERBS[name])(command)
    return app


def _about() -> None:
    """Lift any image network into time, and learn honestly which lift is best on your videos."""


def _only_listed() -> None:
    """A verb as `timelift --help` lists it."""


def _complain(line: str) -> None:
    print(f"timelift: {' '.join(line.split())}", file=sys.stderr)
