"""Edges: which frames of overlapping clips are a clip's own, and which are the same in all that see them.

A layer that sees `before` frames before its own, and `behind` behind it, answers a frame inside a clip as it
does inside the video; only at the clip's ends does it see padding instead. So clips share all but as many
frames at both ends as the layers reach together. A flat batch holds the video's frames in runs, then each
clip's first frames, then each clip's last: all layers on frames work on it as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor

from timelift.clip import Clipwise, Tokenwise, fold, fold_tokens, unfold, unfold_tokens
from timelift.conversions.past import parts_of, window_of


@dataclass(frozen=True)
class Reach:
    """How many frames before its own, and behind it, an answer sees."""

    before: int
    behind: int


def reach_of(layer: Clipwise) -> Reach | None:
    """Of a layer that gives as many frames as it takes; None for others, and where the reach has no end.

    None, too, for one that holds other layers on clips, which would be asked about parts of the batch.
    """
    if any(isinstance(module, Clipwise) for module in layer.on_clips.modules()):
        return None
    windows = [window_of(part) for part in parts_of(layer.on_clips)]
    if not all(window is not None and window.keeps_length for window in windows):
        return None
    return Reach(sum(w.before for w in windows if w), sum(w.behind for w in windows if w))


@dataclass(frozen=True, eq=False)
class FlatBatch:
    """Overlapping clips in one flat batch of M frames, V clips of T frames each.

    order: (M,), the video's frame at each place. runs: (how many, how long) for the runs in order.
    places: (V, T), where each clip's frames stand. reach: of all layers together.
    """

    order: Tensor
    runs: tuple[tuple[int, int], ...]
    places: Tensor
    reach: Reach

    def __call__(self, layer: Clipwise, batch: Tensor) -> Tensor:
        """A layer's answers to the flat batch, which comes as one clip (1, C, M, H, W)."""
        folded, unfolded = (fold_tokens, unfold_tokens) if isinstance(layer, Tokenwise) else (fold, unfold)
        flat, reach = folded(batch), reach_of(layer)
        assert reach is not None

        def answers(frames: Tensor, clips: int) -> Tensor:  # (clips * t, ...)
            return folded(layer.on_clips(unfolded(frames, clips)))

        at, came = 0, []
        for number, length in self.runs:
            came.append(answers(flat[at : at + number * length], number))
            at += number * length
        for own, seen, first in self._ends(reach):
            if own:
                part = self.places[:, seen]  # (V, t)
                of_clips = answers(taken(flat, part.flatten()), len(part)).unflatten(0, part.shape)
                came.append(of_clips[:, first : first + own].flatten(0, 1))
        return unfolded(torch.cat(came), 1)

    def _ends(self, reach: Reach) -> Iterator[tuple[int, slice, int]]:
        """Of the clips' beginnings and ends: own frames, those that they see, the first own among these."""
        before, behind = self.reach.before, self.reach.behind
        yield before, slice(0, before + reach.behind), 0
        yield behind, slice(self.places.shape[1] - behind - reach.before, None), reach.before


def flat_batch(places: Tensor, reach: Reach) -> FlatBatch | None:
    """For clips whose frames are these of the video, (V, T); None where it would save nothing.

    And where clips do not step through the video alike: a frame repeats, or is followed by another one.
    """
    clips, length = places.shape
    own = reach.before + reach.behind
    chains = _chains(places.tolist())
    inside = sum(map(len, chains))
    if not chains or inside + clips * own >= clips * length:
        return None
    in_runs = torch.tensor([frame for chain in chains for frame in chain])
    ends = (places[:, : reach.before].flatten(), places[:, length - reach.behind :].flatten())
    place_of = torch.empty(int(places.max()) + 1, dtype=torch.long)
    place_of[in_runs] = torch.arange(inside)
    stand = place_of[places]
    at = inside + torch.arange(clips * own)
    stand[:, : reach.before] = at[: clips * reach.before].view(clips, -1)
    stand[:, length - reach.behind :] = at[clips * reach.before :].view(clips, -1)
    runs = tuple((len(list(alike)), number) for number, alike in groupby(map(len, chains)))
    return FlatBatch(torch.cat([in_runs, *ends]), runs, stand, reach)


def _chains(clips: list[list[int]]) -> list[list[int]]:
    """The frames in runs as the clips step through them, the shortest first; [] where they differ."""
    behind: dict[int, int] = {}
    before: dict[int, int] = {}
    for clip in clips:
        for one, other in pairwise(clip):
            if behind.setdefault(one, other) != other or before.setdefault(other, one) != one:
                return []
    chains = []
    for first in sorted({frame for clip in clips for frame in clip} - set(before)):
        chain = [first]
        while chain[-1] in behind:
            chain.append(behind[chain[-1]])
        chains.append(chain)
    complete = sum(map(len, chains)) == len({frame for clip in clips for frame in clip})
    return sorted(chains, key=len) if complete else []


def taken(frames: Tensor, index: Tensor) -> Tensor:
    """`frames[index]` along the first dimension; maps that are laid out channels last stay so."""
    if frames.dim() == 4:
        return frames.permute(0, 2, 3, 1)[index].permute(0, 3, 1, 2)
    return frames[index]
