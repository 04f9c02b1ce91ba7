"""What a network says at one moment of a video, as lines that a program or a person reads as they come."""

import json
from collections.abc import Sequence

import numpy as np

HEADER = "frame,seconds,rank,class,probability\n"


def best(probabilities: np.ndarray, classes: Sequence[str], k: int) -> list[tuple[str, float]]:
    """The k most probable classes (K,), the first of equals first; k above their number gives all."""
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [(classes[index], float(probabilities[index])) for index in order]


def csv_lines(frame: int, seconds: float, ranked: list[tuple[str, float]]) -> str:
    """One line a class, in the columns of `HEADER`."""
    return "".join(
        f"{frame},{seconds:.3f},{rank},{_quoted(name)},{probability:.6f}\n"
        for rank, (name, probability) in enumerate(ranked, start=1)
    )


def json_line(frame: int, seconds: float, ranked: list[tuple[str, float]]) -> str:
    """One object on one line."""
    classes = [{"class": name, "probability": round(probability, 6)} for name, probability in ranked]
    told = {"frame": frame, "seconds": round(seconds, 3), "classes": classes}
    return json.dumps(told, ensure_ascii=False) + "\n"


def _quoted(name: str) -> str:
    """As CSV wants a field that holds its own signs."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n\r') else name
