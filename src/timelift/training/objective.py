"""What is minimised: cross-entropy, with label smoothing, mixed labels and auxiliary heads."""

from collections.abc import Iterable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from timelift.auxiliary import Beside
from timelift.records import UsageError
from timelift.training.mixup import Mix


def loss_and_hits(
    logits: Tensor, labels: Tensor, smoothing: float, mix: Mix | None, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(B, K) logits and (B,) labels -> the sum of the clips' losses, and how many are right.

    Under mixup both are weighted by the two labels' shares. weights: (classes,), of a clip's loss.
    """
    if labels.dim() == 2:
        return several_loss_and_hits(logits, labels, smoothing, mix)
    logits = logits.float()
    best = logits.detach().argmax(dim=1)
    loss = _summed(logits, labels, smoothing, weights)
    hits = (best == labels).sum()
    if mix is None:
        return loss, hits
    others = labels[mix.partner.to(labels.device)]
    other_loss = _summed(logits, others, smoothing, weights)
    other_hits = (best == others).sum()
    return mix.share * loss + (1 - mix.share) * other_loss, mix.share * hits + (1 - mix.share) * other_hits


def several_loss_and_hits(
    logits: Tensor, labels: Tensor, smoothing: float, mix: Mix | None
) -> tuple[Tensor, Tensor]:
    """For clips that show several classes: (B, K) logits and (B, K) labels of 1 and 0.

    The sum over clips of binary cross-entropy, its mean over classes; and how many clips have a class that
    they show on top. Smoothing draws every answer towards one half.
    """
    wanted = (
        labels
        if mix is None
        else mix.share * labels + (1 - mix.share) * labels[mix.partner.to(labels.device)]
    )
    smooth = wanted * (1 - smoothing) + smoothing / 2
    loss = binary_cross_entropy_with_logits(logits.float(), smooth, reduction="none").mean(dim=1).sum()
    best = logits.detach().argmax(dim=1, keepdim=True)
    return loss, labels.gather(1, best).sum()


def _summed(logits: Tensor, labels: Tensor, smoothing: float, weights: Tensor | None) -> Tensor:
    if weights is None:
        return cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    return (
        weights[labels] * cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    ).sum()


def auxiliary_loss(
    given: Iterable[Beside],
    labels: Tensor,
    smoothing: float,
    mix: Mix | None,
    weights: Tensor | None = None,
) -> Tensor | float:
    """The sum of the clips' losses of heads that answer beside the network's own, each times its weight.

    A head's answer to a clip is the mean over its frames. No head, no loss.
    """
    return sum(
        head.weight * loss_and_hits(_per_clip(head.logits, len(labels)), labels, smoothing, mix, weights)[0]
        for head in given
    )


def _per_clip(logits: Tensor, clips: int) -> Tensor:
    """(B*T, K) -> (B, K): the mean over frames."""
    return logits.unflatten(0, (clips, -1)).mean(dim=1)


def check_answer(logits: Tensor, clips: int, highest_label: int) -> None:
    """Refuse logits that are not (clips, classes), or labels past the last class.

    Raises:
        UsageError: with both numbers.
    """
    if logits.ndim != 2 or len(logits) != clips:
        raise UsageError(f"the network answers {tuple(logits.shape)}, wanted ({clips}, classes)")
    if highest_label >= logits.shape[1]:
        raise UsageError(
            f"a training clip has label {highest_label}, but the network has {logits.shape[1]} classes"
        )
