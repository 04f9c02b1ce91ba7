"""Mixup (Zhang et al., arXiv:1710.09412): train on weighted pairs of clips and of their labels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from timelift.training.seeds import derive


@dataclass(frozen=True, eq=False)
class Mix:
    """Clip i becomes `share` of itself and `1 - share` of clip `partner[i]` of the same batch."""

    share: float
    partner: Tensor  # (B,) int64


def draw_mix(clips: int, alpha: float, seed: int, epoch: int, batch: int) -> Mix:
    """The mix of one batch: a share from Beta(alpha, alpha) and a pairing, given by (seed, epoch, batch)."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(derive(seed, "mixup", epoch, batch))
        share = torch.distributions.Beta(alpha, alpha).sample().item()
        return Mix(share, torch.randperm(clips))


def mix_clips(clips: Tensor, mix: Mix) -> Tensor:
    """Float clips (B, C, T, H, W), mixed."""
    return mix.share * clips + (1 - mix.share) * clips[mix.partner.to(clips.device)]
