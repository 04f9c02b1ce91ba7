"""`timelift stream`: a trained network follows a video or a camera, and says what it sees as it comes."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Device, say
from timelift.records.errors import DataError


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    source: Annotated[str, typer.Argument(help="A video, a folder of its frames, or a camera's number.")],
    output: Annotated[
        Path | None, typer.Option(help="A video to write with the classes on it (.mp4, .mov, .mkv).")
    ] = None,
    format: Annotated[str, typer.Option(help="csv, or json: an object a line.")] = "csv",
    top: Annotated[int, typer.Option(help="Classes an answer.", min=1)] = 1,
    policy: Annotated[
        str,
        typer.Option(
            help="Where frames come faster than they are worked on: wait, or drop the oldest that waits. "
            "auto: videos wait, cameras drop. A video that drops is read at its own pace."
        ),
    ] = "auto",
    average: Annotated[
        int, typer.Option(help="Frames of the network that an answer averages; 0: a clip's.", min=0)
    ] = 0,
    every: Annotated[
        int, typer.Option(help="Frames between clips, where clips are needed; 0: a quarter of one.", min=0)
    ] = 0,
    device: Device = "auto",
    optimize: Annotated[
        bool,
        typer.Option("--optimize", help="With its step frozen, where that is measured to be quicker."),
    ] = False,
) -> None:
    """Follow a video or a camera: top classes as it comes.

    The network goes frame by frame where it can, else over clips that overlap, and a line says why; it sees
    every so many frames, as in training. Ctrl-C ends it; what was written is whole.

    Example: timelift stream run/ holiday.mp4 --output annotated.mp4
    """
    from timelift.data.annotate import annotated
    from timelift.data.encode import writing_video
    from timelift.data.feed import Feed
    from timelift.data.live import frames_of_camera, frames_of_file
    from timelift.evaluation.now import HEADER, best, csv_lines, json_line
    from timelift.records.errors import UsageError
    from timelift.runs.live import Follower, follow
    from timelift.runs.saved import load
    from timelift.runs.surroundings import pick_device

    if format not in ("csv", "json"):
        raise UsageError(f"--format {format}: csv or json")
    if policy not in ("auto", "wait", "drop"):
        raise UsageError(f"--policy {policy}: auto, wait or drop")
    if output is not None and output.exists() and Path(source).exists() and output.samefile(source):
        raise UsageError(f"--output {output} is the video that is read: name another file")
    where = pick_device(device)
    model = load(run).to(where)
    follower = Follower(model, where, average or None, every, optimize)
    clip, pictures = model.transform.clip, output is not None
    is_camera = source.isdecimal() and not Path(source).exists()
    drop = policy == "drop" or (policy == "auto" and is_camera)
    if is_camera:
        frames = frames_of_camera(int(source), clip.short_side, clip.channels, pictures)
    else:
        frames = frames_of_file(Path(source), clip.short_side, clip.channels, pictures)
    say(f"{run}: {follower.words}")
    tell = csv_lines if format == "csv" else json_line
    lines: list[str] = []  # of the newest answer, for the video
    came = answers = 0
    broken: DataError | None = None  # behind frames that came: what was written stays
    with contextlib.ExitStack() as closing:
        closing.enter_context(_stopped_by(signal.SIGTERM))
        write = None if output is None else closing.enter_context(writing_video(output))
        feed = Feed(frames, drop, paced=drop and not is_camera)
        closing.callback(feed.close)
        closing.callback(_close_undisturbed)
        closing.enter_context(contextlib.suppress(KeyboardInterrupt))  # the usual end of a camera
        try:
            for frame, probabilities in follow(feed, follower):
                if probabilities is not None:
                    ranked = best(probabilities, model.classes, top)
                    lines = [f"{name} {probability:.2f}" for name, probability in ranked]
                    sys.stdout.write(HEADER if answers == 0 and format == "csv" else "")
                    sys.stdout.write(tell(frame.index, frame.seconds, ranked))
                    sys.stdout.flush()
                    answers += 1
                if write is not None and frame.picture is not None:
                    write(annotated(frame.picture, lines), frame.seconds)
                came = frame.index + 1
        except DataError as error:
            if came == 0:
                raise
            broken = error
    told = f"; wrote {output}" if output is not None else ""
    say(f"{came} frames, {answers} answers, {feed.dropped} dropped ({'drop' if drop else 'wait'}){told}")
    if broken is not None:
        raise broken


@contextlib.contextmanager
def _stopped_by(number: signal.Signals) -> Iterator[None]:
    """The scope in which another signal is as Ctrl-C; behind it both are what they were."""
    before = {one: signal.getsignal(one) for one in (number, signal.SIGINT)}
    signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _close_undisturbed() -> None:
    """A second Ctrl-C, while the video is being ended, would cost all of it."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
