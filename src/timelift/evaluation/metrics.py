"""What a set of predictions is worth: accuracies and errors, as fractions, from numpy arrays of scores.

Ties: of equal scores the lower class index ranks first, as numpy's argmax has it. A network that answers
the same for every class is therefore right on class 0 only, whatever k-th place its ties would share.
"""

import numpy as np

from timelift.records import Predictions, UsageError

LEAST_CLASSES_FOR_TOP5 = 5


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) place of the label among the classes, 0 for the highest of the scores (N, K).

    Raises:
        UsageError: if there is nothing to judge, the shapes disagree, or a score is not a number.
    """
    _check(scores, labels)
    of_label = np.take_along_axis(scores, labels[:, None], axis=1)  # (N, 1)
    higher = (scores > of_label).sum(axis=1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    return higher + ((scores == of_label) & before).sum(axis=1)


def top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of rows whose label is among the k highest of the scores (N, K)."""
    return float((ranks(scores, labels) < k).mean())


def mean_class_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy of every class that has a row, averaged over these classes."""
    correct = ranks(scores, labels) == 0
    return float(np.mean([correct[labels == label].mean() for label in np.unique(labels)]))


def average_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean of top-1 and top-5 error (the ActivityNet challenge's measure on Kinetics, 2017)."""
    return 1.0 - (top_k(scores, labels, 1) + top_k(scores, labels, 5)) / 2


def confusion(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(K, K) counts: row = label, column = the class with the highest score."""
    _check(scores, labels)
    counts = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    return counts


def summary(predictions: Predictions) -> dict[str, float]:
    """Every metric under its name, at both levels, as fractions.

    "acc/top1/clip" judges every view alone (a video with more views counts more often); "acc/top1/video"
    judges the softmax of a video's views, fused into one. With fewer than 5 classes top-5, and the average
    error that is made of it, are left out. Where a video may show several classes: "map/clip", "map/video".
    """
    if predictions.several:
        return {
            "map/clip": mean_average_precision(*views_alone(predictions)),
            "map/video": mean_average_precision(predictions.scores(), predictions.labels),
        }
    video = _at_level("video", predictions.scores(), predictions.labels)
    return {**_at_level("clip", *views_alone(predictions)), **video}


def views_alone(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """The logits (N, classes) of all views of all videos, padding left out, and their labels (N,)."""
    present = ~np.isnan(predictions.clip_logits).all(axis=-1)  # (videos, views)
    labels = np.repeat(predictions.labels, present.sum(axis=1), axis=0)
    return predictions.clip_logits[present], labels


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of average precision, from scores and 1 or 0, both (N, K); fractions.

    A class that no row shows is left out. Rows of equal scores come together, whatever their order.

    Raises:
        UsageError: if the shapes disagree, a score is not a number, or no class is shown.
    """
    if scores.ndim != 2 or scores.shape != labels.shape or not len(scores):
        raise UsageError(f"scores {scores.shape} and labels {labels.shape}: wanted (N, classes) twice")
    if np.isnan(scores).any() or not labels.any():
        raise UsageError("mean average precision: scores are not numbers, or no class is shown by any row")
    shown = np.flatnonzero(labels.any(axis=0))
    return float(np.mean([_average_precision(scores[:, c], labels[:, c]) for c in shown]))


def _average_precision(scores: np.ndarray, shown: np.ndarray) -> float:
    """Sum over thresholds of precision times the gain in recall: (N,), (N,) of 1 and 0."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of equal scores
    found = np.cumsum(shown[order])[last]
    precision, recall = found / (last + 1), found / found[-1]
    return float((np.diff(recall, prepend=0) * precision).sum())


def _at_level(level: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    metrics = {
        f"acc/top1/{level}": top_k(scores, labels, 1),
        f"acc/mean1/{level}": mean_class_accuracy(scores, labels),
    }
    if scores.shape[1] >= LEAST_CLASSES_FOR_TOP5:
        metrics[f"acc/top5/{level}"] = top_k(scores, labels, 5)
        metrics[f"error/average/{level}"] = average_error(scores, labels)
    return metrics


def _check(scores: np.ndarray, labels: np.ndarray) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise UsageError(
            f"scores {scores.shape} and labels {labels.shape}: wanted (N, classes) and (N,), N at least 1"
        )
    if np.isnan(scores).any():
        bad = int(np.isnan(scores).any(axis=1).sum())
        raise UsageError(f"{bad} of {len(scores)} rows of scores are not numbers: no rank can be given")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise UsageError(
            f"labels run from {labels.min()} to {labels.max()}, but the scores have {scores.shape[1]} classes"
        )
