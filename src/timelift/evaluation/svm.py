"""A linear support vector machine, one class against the rest, as numbers that can be stored.

On the scores of several networks it fuses them (Simonyan and Zisserman 2014); on a layer's features it reads
them (Tran et al. 2015).
"""

from dataclasses import dataclass

import numpy as np

from timelift.records import UsageError

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # C, for rows of length 1


@dataclass(frozen=True, eq=False)
class LinearSVM:
    """(classes, D) coefficients and (classes,) intercepts."""

    coefficients: np.ndarray
    intercepts: np.ndarray

    def decide(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, classes): the distance from each class's plane, scaled."""
        return features @ self.coefficients.T + self.intercepts


def fit_svm(features: np.ndarray, labels: np.ndarray, strength: float, classes: int) -> LinearSVM:
    """Fit (N, D) with labels (N,) at one strength C; every class must have a row.

    Raises:
        UsageError: naming the first class without one.
    """
    from sklearn.svm import LinearSVC

    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing:
        raise UsageError(f"class number {missing[0]} has no video to fit a support vector machine on")
    machine = LinearSVC(C=strength, max_iter=100_000, random_state=0)
    machine.fit(features, labels)
    coefficients, intercepts = machine.coef_, machine.intercept_
    if classes == 2:  # scikit-learn gives one plane
        coefficients, intercepts = (
            np.concatenate([-coefficients, coefficients]),
            np.r_[-intercepts, intercepts],
        )
    return LinearSVM(coefficients, intercepts)


def svm_logits(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    strength: float,
    classes: int,
) -> np.ndarray:
    """(M, classes) decisions at one strength C; -inf for a class without a training row."""
    present = np.unique(train_labels)
    machine = fit_svm(train_features, np.searchsorted(present, train_labels), strength, len(present))
    logits = np.full((len(test_features), classes), -np.inf)
    logits[:, present] = machine.decide(test_features)
    return logits


def on_unit_sphere(rows: np.ndarray) -> np.ndarray:
    """(N, D) with every row at length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
