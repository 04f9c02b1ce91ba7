"""A finished run, or several fused, asked about labelled videos: in views, or fully convolutionally."""

import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from timelift.data.dataset import EvaluationClips, WholeVideos
from timelift.data.frames import DecodedOnDemand
from timelift.data.sampling import clip_span
from timelift.evaluation.evaluate import Clips, Progress, Share, evaluate
from timelift.evaluation.whole import refusal
from timelift.lifting import VideoModel
from timelift.records import ClipFormat, DataError, Manifest, Predictions, Recipe, UsageError
from timelift.records.recipe import parse_recipe, recipe_to_dict
from timelift.runs.fuse import FUSION, read_fuser
from timelift.runs.saved import MODEL, load
from timelift.runs.sharing import sharing

LONG_SPANS = 10  # a video this many times as long as a clip's span is long: one clip sees a tenth of it
DENSE_CLIPS, DENSE_CROPS = 10, "three"


@dataclass(frozen=True)
class Asked:
    """How videos are seen. clips, crops: None for what suits their length; whole: in one pass, uncropped."""

    clips: int | None = None
    crops: str | None = None
    window_stride: int = 0
    fusion: str = "mean"
    whole: bool = False
    most_frames: int = 256  # of a whole video at once


def judged(
    folder: Path,
    manifest: Manifest,
    asked: Asked,
    device: torch.device,
    *,
    share: Share,
    talk: Callable[[str], None],
    progress: Progress | None = None,
) -> Predictions:
    """The answers of a run for scanned videos; of a fused folder, its members' answers, fused.

    Raises:
        DataError: for classes that the run does not know, or a folder without a network.
        UsageError: for views that cannot be, or a network that takes no whole videos.
    """
    if (folder / FUSION).is_file():
        fuser, members = read_fuser(folder)
        _check_same_data(folder, members)
        return fuser(
            [
                judged(member, manifest, asked, device, share=share, talk=talk, progress=progress)
                for member in members
            ]
        )
    model = load(folder).to(device)
    manifest = with_classes_of(model, manifest, folder, talk)
    recipe, words = asked_recipe(asked, manifest, model.transform.clip)
    together = None if asked.whole else sharing(model, manifest, recipe)
    talk(f"{folder}: {words}" + (f"; {together}" if together is not None else ""))
    return evaluate(
        model,
        _clips(model, manifest, recipe, asked),
        manifest,
        normalise=model.transform.normalise,
        device=device,
        progress=progress,
        fusion=recipe.views.fusion,
        share=share,
        together=together,
    )


def _check_same_data(folder: Path, members: Sequence[Path]) -> None:
    """Refuse, before the first is asked, members that take no videos, or not the same."""
    kinds = {}
    for member in members:
        if (member / FUSION).is_file():
            _check_same_data(member, read_fuser(member)[1])
            continue
        if not (member / MODEL).is_file():
            raise UsageError(f"{folder} fuses {member}, which has no network to ask (a probe, or a file)")
        clip = json.loads((member / MODEL).read_text(encoding="utf-8"))["clip"]
        kinds["optical flow" if clip["channels"] == 2 else "videos"] = member
    if len(kinds) > 1:
        told = " and ".join(f"{member} takes {kind}" for kind, member in kinds.items())
        raise UsageError(f"{told}: `timelift evaluate` each on its own data, then `timelift fuse` the files")


def asked_recipe(asked: Asked, manifest: Manifest, clip: ClipFormat) -> tuple[Recipe, str]:
    """The recipe of the views that were asked for, and the views in words.

    Where nothing is said, 10 clips x 3 crops if the middle one of the videos is 10 clip spans long or longer,
    and else one clip in one crop.
    """
    if asked.whole and (asked.clips is not None or asked.crops is not None or asked.window_stride):
        raise UsageError("--whole sees every video uncropped in one pass: leave out --clips and --crops")
    span = clip_span(clip.frames, clip.stride, clip.stack)
    middle = statistics.median(video.frames for video in manifest.videos)
    dense = asked.clips is None and asked.crops is None and middle >= LONG_SPANS * span and not asked.whole
    clips = asked.clips if asked.clips is not None else (DENSE_CLIPS if dense else 1)
    crops = asked.crops if asked.crops is not None else (DENSE_CROPS if dense else "centre")
    views = {"clips": clips, "crops": crops, "window_stride": asked.window_stride, "fusion": asked.fusion}
    recipe = parse_recipe({**recipe_to_dict(Recipe(clip=clip)), "views": views})
    if asked.whole:
        return recipe, f"whole videos in one pass, uncropped, up to {asked.most_frames} frames at once"
    how = f"{clips} clip(s)" if clips else f"a clip every {asked.window_stride} frames"
    why = f": the videos are long (half have {middle:g} frames or more, a clip spans {span})" if dense else ""
    return recipe, f"{how} x {crops} crop(s) a video{why}"


def with_classes_of(
    model: VideoModel, manifest: Manifest, folder: Path, talk: Callable[[str], None]
) -> Manifest:
    """The manifest with the run's classes, in its order; classes without a video are said.

    Raises:
        DataError: naming the classes that the run was not trained on.
    """
    if model.several_labels != bool(manifest.separator):
        told = (
            "may show several classes: give --label-separator" if model.several_labels else "shows one class"
        )
        raise UsageError(f"{folder} was trained on videos of which each {told}")
    shown = {name for video in manifest.videos for name in manifest.names_of(video)}
    unknown = sorted(shown - set(model.classes))
    if unknown:
        count = sum(not set(unknown).isdisjoint(manifest.names_of(video)) for video in manifest.videos)
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise DataError(
            f"{folder} was not trained on {', '.join(map(repr, unknown[:5]))}{more}, which {count} of "
            f"{len(manifest.videos)} videos show; its {len(model.classes)} classes begin with "
            f"{', '.join(map(repr, model.classes[:3]))}. Leave those videos out, or train on them"
        )
    missing = [name for name in model.classes if name not in shown]
    if missing:
        talk(f"no video of {len(missing)} of the {len(model.classes)} classes: {', '.join(missing[:5])}")
    return dataclasses.replace(manifest, classes=model.classes)


def _clips(model: VideoModel, manifest: Manifest, recipe: Recipe, asked: Asked) -> Clips:
    frames = DecodedOnDemand(manifest, recipe.clip)
    if not asked.whole:
        return EvaluationClips(manifest, recipe, frames)
    clips = WholeVideos(manifest, recipe, frames, asked.most_frames)
    views, _ = clips[0]
    why = refusal(model, tuple(views.shape[1:]))
    if why:
        shape = " x ".join(map(str, views.shape[2:]))
        raise UsageError(
            f"this network takes no whole videos: for {shape} {why}. It was trained on "
            f"{recipe.clip.frames} x {recipe.clip.size} x {recipe.clip.size}; use --clips 10 --crops three"
        )
    return clips
