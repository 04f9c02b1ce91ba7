"""The linear probe: what the frozen image network already knows, read off by logistic regression.

Any lift should beat it; one that does not has learnt nothing from the videos that one frame's features
did not say (Guillaume Alain and Yoshua Bengio, arXiv 1610.01644).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from timelift.evaluation.evaluate import Clips, Progress, in_batches
from timelift.records import DataError, UsageError

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # scikit-learn's C: small is strongly regularised
FALLBACK_STRENGTH = 1.0
MOST_FOLDS = 5
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, float, int], np.ndarray]  # as `fitted_logits`


def features(
    model_features: Callable[[Tensor], Tensor],
    clips: Clips,
    *,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device | str,
    progress: Progress | None = None,
    batch_views: int = 8,
) -> np.ndarray:
    """(videos, D) float32: the mean over frames and views of an image network's features.

    `model_features` takes frames (B*T, C, H, W) and gives (B*T, D); it is in eval mode already, on `device`.
    `normalise` makes its input of a batch of uint8 views (B, C, T, H, W).
    """
    if not len(clips):
        raise DataError("no videos to take features of: this split is empty")
    rows: list[np.ndarray] = []
    with torch.inference_mode():
        for index in range(len(clips)):
            views, _ = clips[index]
            means = []
            for _, batch in in_batches(((index, view) for view in views), batch_views):
                frames = normalise(batch.to(device)).transpose(1, 2).flatten(0, 1)  # (B*T, C, H, W)
                per_frame = model_features(frames).unflatten(0, (len(batch), -1))  # (B, T, D)
                means.append(per_frame.float().mean(dim=1))
            rows.append(torch.cat(means).mean(dim=0).cpu().numpy())
            if progress is not None:
                progress(index + 1, len(clips))
    return np.stack(rows)


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    train_groups: tuple[str, ...],
    seed: int,
    classes: int | None = None,
) -> np.ndarray:
    """Logits (M, classes) of multinomial logistic regression on standardised features (N, D), (M, D).

    The strength is `chosen_strength` of the training videos; the test videos choose nothing. `classes` is
    by default the highest label + 1; a class without a training video gets the logit -inf.

    Raises:
        UsageError: if shapes disagree or fewer than two classes have a training video.
    """
    _check(train_features, train_labels, test_features, train_groups)
    strength = chosen_strength(train_features, train_labels, train_groups, seed)
    count = int(train_labels.max()) + 1 if classes is None else classes
    return fitted_logits(train_features, train_labels, test_features, strength, count)


def chosen_strength(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    train_groups: tuple[str, ...],
    seed: int,
    fit: Fit | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
) -> float:
    """The C of `strengths` with the most videos right in cross-validation; of equals the smallest.

    No group stands on both sides of a fold. As many folds (at most 5) as the rarest class has groups; where
    that is fewer than 2 there is nothing to choose by, and C is 1.
    fit: what is fitted, `fitted_logits` unless another is given.
    """
    fit = fit or fitted_logits
    groups = np.array(train_groups)
    folds = folds_of(train_labels, train_groups)
    if folds < 2:
        return FALLBACK_STRENGTH
    splits = _group_folds(train_labels, groups, folds, seed)
    right = [_right(fit, train_features, train_labels, splits, strength) for strength in strengths]
    return strengths[int(np.argmax(right))]


def folds_of(train_labels: np.ndarray, train_groups: tuple[str, ...]) -> int:
    """Of cross-validation, whole groups: as many as the rarest class has groups, at most 5."""
    groups = np.array(train_groups)
    return min(MOST_FOLDS, *(len(np.unique(groups[train_labels == c])) for c in np.unique(train_labels)))


def fitted_logits(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    strength: float,
    classes: int,
) -> np.ndarray:
    """Logits (M, classes) at one strength C."""
    from sklearn.linear_model import LogisticRegression

    centre, scale = train_features.mean(axis=0), train_features.std(axis=0)
    scale = np.where(scale > 1e-8 * np.abs(centre).max(initial=1.0), scale, 1.0)  # a constant says nothing
    regression = LogisticRegression(C=strength, max_iter=5000)
    regression.fit((train_features - centre) / scale, train_labels)
    scores = regression.decision_function((test_features - centre) / scale)
    if scores.ndim == 1:  # two classes: scikit-learn gives the difference of their logits
        scores = np.stack([-scores / 2, scores / 2], axis=1)
    logits = np.full((len(test_features), classes), -np.inf)
    logits[:, regression.classes_] = scores
    return logits


def _group_folds(
    labels: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    splits = list(splitter.split(labels, labels, groups))
    return [(train, held) for train, held in splits if len(held) and len(np.unique(labels[train])) > 1]


def _right(
    fit: Fit,
    features: np.ndarray,
    labels: np.ndarray,
    splits: list[tuple[np.ndarray, np.ndarray]],
    strength: float,
) -> int:
    classes = int(labels.max()) + 1
    right = 0
    for train, held in splits:
        logits = fit(features[train], labels[train], features[held], strength, classes)
        right += int((logits.argmax(axis=1) == labels[held]).sum())
    return right


def _check(train: np.ndarray, labels: np.ndarray, test: np.ndarray, groups: tuple[str, ...]) -> None:
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1]:
        raise UsageError(f"features {train.shape} and {test.shape}: wanted (videos, D) twice, D the same")
    if not len(train) == len(labels) == len(groups):
        raise UsageError(
            f"{len(train)} rows of features, {len(labels)} labels, {len(groups)} groups: one of each a video"
        )
    if len(np.unique(labels)) < 2:
        raise UsageError("a linear probe needs training videos of at least two classes")
