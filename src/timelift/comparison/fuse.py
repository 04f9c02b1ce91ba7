"""Late fusion: what several networks answered for the same videos, made one answer a video.

Mean of probabilities (Simonyan and Zisserman 2014), sum of logits (Carreira and Zisserman 2017), weights.
"""

import dataclasses
import posixpath
from collections.abc import Sequence

import numpy as np

from timelift.records.errors import UsageError
from timelift.records.predictions import Predictions

METHODS = ("mean", "sum", "weighted", "svm")  # the last is fitted, on validation videos: see runs/fuse.py


def mean_of_probabilities(members: Sequence[Predictions]) -> Predictions:
    """Each video's probabilities, averaged over the members."""
    return weighted_probabilities(members, (1.0,) * len(members))


def weighted_probabilities(members: Sequence[Predictions], weights: Sequence[float]) -> Predictions:
    """Each video's probabilities, averaged over the members with weights, of which only the ratio counts.

    Raises:
        UsageError: unless there is one weight a member, none below zero, and one above.
    """
    check_weights(weights, len(members))
    shares = np.array(weights, dtype=np.float64) / np.sum(weights)
    scores = np.tensordot(shares, np.stack([member.scores() for member in members]), axes=1)
    with np.errstate(divide="ignore"):  # a probability of 0 is a logit of -inf
        return with_logits(members[0], np.log(scores))


def check_weights(weights: Sequence[float], members: int) -> None:
    """Raise a UsageError unless there is one weight a member, none below zero, and one above."""
    if len(weights) != members:
        raise UsageError(f"{len(weights)} weight(s) for {members} runs: give one for each")
    if not np.isfinite(weights).all() or min(weights) < 0 or max(weights) <= 0:
        raise UsageError(f"weights {', '.join(f'{w:g}' for w in weights)}: none below 0, one above is wanted")


def sum_of_logits(members: Sequence[Predictions]) -> Predictions:
    """Each video's logits, the mean over its views, added up over the members."""
    return with_logits(members[0], np.sum([video_logits(member) for member in members], axis=0))


def video_logits(member: Predictions) -> np.ndarray:
    """(videos, classes) float64: the mean over a video's views; a view of NaN is not there."""
    return np.nanmean(member.clip_logits.astype(np.float64), axis=1)


def with_logits(like: Predictions, logits: np.ndarray) -> Predictions:
    """Answers for the same videos: logits (videos, classes), as of one view a video."""
    return dataclasses.replace(like, clip_logits=logits[:, None].astype(np.float32), fusion="mean")


def check_same_questions(names: Sequence[str], members: Sequence[Predictions]) -> None:
    """Refuse answers of different videos, classes or orders.

    A video is known by its path below the folder that holds all of them, so runs may lie anywhere.

    Raises:
        UsageError: naming two members and what differs between them.
    """
    if len(members) < 2:
        raise UsageError(f"{len(members)} run(s) to fuse: give two or more")
    if any(member.several for member in members):
        raise UsageError(
            "runs on videos that may show several classes are not fused: their scores need no softmax"
        )
    for name, member in zip(names[1:], members[1:], strict=True):
        what = difference(members[0], member)
        if what:
            raise UsageError(
                f"{names[0]} and {name} cannot be fused: {what}. Evaluate both on the same videos"
            )


def difference(a: Predictions, b: Predictions) -> str:
    """What differs between the questions that two members answer, in words; "" if nothing does."""
    if a.classes != b.classes:
        if sorted(a.classes) == sorted(b.classes):
            return f"the same classes in another order ({_first_unequal(a.classes, b.classes)})"
        return f"other classes ({_one_side(a.classes, b.classes)})"
    ours, theirs = names_below(a.videos), names_below(b.videos)
    if len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)} videos ({_one_side(ours, theirs)})"
    if ours != theirs:
        if sorted(ours) == sorted(theirs):
            return f"the same videos in another order ({_first_unequal(ours, theirs)})"
        return f"other videos ({_one_side(ours, theirs)})"
    for video, one, other in zip(ours, a.labels, b.labels, strict=True):
        if not np.array_equal(one, other):
            return f"{video} is labelled {a.classes[one]!r} and {a.classes[other]!r}"
    if a.groups != b.groups:
        return f"other groups of videos ({_first_unequal(a.groups, b.groups)})"
    return ""


def names_below(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths below the deepest folder that holds all: ("../v/a/1.avi", "../v/b/2.avi") -> ("a/1.avi", ...)."""
    folders = [posixpath.dirname(path) for path in paths]
    depth = len(posixpath.commonprefix([folder.split("/") for folder in folders])) if folders else 0
    return tuple("/".join(path.split("/")[depth:]) for path in paths)


def _first_unequal(a: Sequence[str], b: Sequence[str]) -> str:
    place, one, other = next((i, x, y) for i, (x, y) in enumerate(zip(a, b, strict=True), 1) if x != y)
    return f"number {place} is {one!r} and {other!r}"


def _one_side(a: Sequence[str], b: Sequence[str]) -> str:
    sides = (("first", sorted(set(a) - set(b))), ("second", sorted(set(b) - set(a))))
    told = [
        f"{names[0]!r}{f' and {len(names) - 1} more' if len(names) > 1 else ''} in the {side} alone"
        for side, names in sides
        if names
    ]
    return ", ".join(told) or "some are there twice"
