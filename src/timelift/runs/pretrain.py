"""The composite LSTM trained on clips without labels: it rebuilds what it saw and says what comes.

Srivastava et al. 2015. Its encoder then starts a classifier: `composite_lstm(weights=FILE)` on pixels,
`lrcn(encoder=FILE)` on the features of an image network.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from timelift.data.dataset import TrainClips
from timelift.data.frames import FrameSource
from timelift.data.split import split, with_validation
from timelift.networks.facts import facts_of
from timelift.networks.images import image_network
from timelift.networks.weights import classifier_names
from timelift.records import ClipFormat, DataError, Manifest, Recipe, TimeliftError, UsageError
from timelift.records.whole import whole
from timelift.runs.pixels import Normalise, with_pixels_of
from timelift.systems.composite_lstm import CompositeLSTM, composite_loss
from timelift.systems.system import MINUS_ONE_TO_ONE
from timelift.training.order import epoch_batches
from timelift.training.seeds import borrowed_randomness, derive, seed_draws

Rows = Callable[[Tensor], Tensor]  # uint8 clips (B, C, T, H, W) -> (B, T, D)


@dataclass(frozen=True)
class Pretraining:
    """What the composite LSTM is, and how it is trained."""

    past: int = 8  # frames that are shown and rebuilt
    future: int = 8  # frames that are predicted
    hidden: int = 2048
    layers: int = 1
    conditional: bool = True  # the decoders are shown the frame before the one that they say
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 1e-3  # of AdamW
    clip_gradient: float = 1.0  # largest norm
    network: str = ""  # whose features the frames become; "": their pixels


@dataclass(frozen=True)
class EpochLoss:
    """Mean losses a clip after an epoch; `still` is that of saying the last frame seen again and again."""

    epoch: int
    train: float
    held_out: float | None  # on validation videos; None without any
    still: float | None


def pretrain(
    choices: Pretraining,
    recipe: Recipe,
    train: Manifest,
    val: Manifest,
    frames: FrameSource,
    *,
    seed: int,
    device: torch.device,
    progress: Callable[[EpochLoss], None] | None = None,
) -> CompositeLSTM:
    """Train on clips of `past + future` frames of all train videos; their labels are not looked at.

    recipe: its clips and augmentation; `clip.frames` is past + future.

    Raises:
        UsageError: for numbers that cannot be. TimeliftError: if the loss is no longer finite.
    """
    _check(choices)
    recipe = dataclasses.replace(recipe, clip=clips_of(choices, recipe.clip))
    clips = TrainClips(train, recipe, seed, frames)
    fixed = dataclasses.replace(recipe.augmentation, random_crop=False, flip=0.0, temporal_jitter=False)
    held = TrainClips(val, dataclasses.replace(recipe, augmentation=fixed), seed, frames)
    rows = rows_of(choices.network, recipe.clip, device)
    numbers = rows(clips[0][0][None]).shape[2]
    with borrowed_randomness(device):
        seed_draws(derive(seed, "start"), torch.device("cpu"))
        model = CompositeLSTM(numbers, choices.hidden, choices.layers, choices.conditional).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=choices.learning_rate)
    for epoch in range(1, choices.epochs + 1):
        clips.set_epoch(epoch)
        total = 0.0
        for batch in epoch_batches(len(clips), choices.batch_size, 1, seed, epoch):
            said = rows(torch.stack([clips[i][0] for i in batch]))  # (B, past + future, D)
            loss = composite_loss(model, said[:, : choices.past], said[:, choices.past :])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), choices.clip_gradient)
            optimizer.step()
            if not loss.isfinite():
                raise TimeliftError(
                    f"the loss is {float(loss.detach())} in epoch {epoch}: lower --learning-rate "
                    f"(it is {choices.learning_rate:g})"
                )
            total += float(loss.detach()) * len(batch)
        if progress is not None:
            progress(EpochLoss(epoch, total / len(clips), *_held_out(model, held, rows, choices)))
    return model.eval()


def learnt_from(videos: Manifest) -> tuple[Manifest, Manifest, str]:
    """The videos to learn from, those that judge, and that in words: split as training splits them.

    Data that cannot be split by class and group is learnt from whole.

    Raises:
        DataError: if the data has splits, and no video is in train.
    """
    try:
        parted = videos if any(video.split for video in videos.videos) else split(videos)
    except DataError as error:
        return videos, videos.with_videos(()), f"learning from all videos: no split can be made ({error})"
    parted, _ = with_validation(parted)
    train, val = parted.of_split("train"), parted.of_split("val")
    aside = len(videos.videos) - len(train.videos) - len(val.videos)
    told = f"learning from {len(train.videos)} videos, validated on {len(val.videos)}, {aside} not seen"
    return train, val, told


def clips_of(choices: Pretraining, clip: ClipFormat) -> ClipFormat:
    """The clips, as long as what is shown and predicted, with the pixels that the classifier will see."""
    longer = dataclasses.replace(clip, frames=choices.past + choices.future)
    if not choices.network:
        mean, std = (values[:1] * clip.in_channels for values in MINUS_ONE_TO_ONE)
        return dataclasses.replace(longer, mean=clip.mean or mean, std=clip.std or std)
    return longer


def rows_of(network: str, clip: ClipFormat, device: torch.device) -> Rows:
    """Frames as rows of numbers: their pixels, or what the last layer of a pretrained image network gets.

    Raises:
        UsageError: for a network that is not pretrained.
    """
    if not network:
        normalise = Normalise(clip.mean, clip.std)  # type: ignore[arg-type]
        return lambda clips: normalise(clips.to(device)).transpose(1, 2).flatten(2)
    net = image_network(network, in_channels=clip.in_channels).to(device).eval()
    if not facts_of(net).pretrained:
        raise UsageError(
            f"{network} starts from random weights, and its features would be another network's next time: "
            "give a pretrained one, or none for pixels"
        )
    pixels = with_pixels_of(clip, facts_of(net))
    normalise = Normalise(pixels.mean, pixels.std)  # type: ignore[arg-type]
    seen: list[Tensor] = []
    net.get_submodule(classifier_names(net)[0]).register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )

    @torch.no_grad()
    def rows(clips: Tensor) -> Tensor:
        seen.clear()
        net(normalise(clips.to(device)).transpose(1, 2).flatten(0, 1))
        return seen[0].flatten(1).unflatten(0, (len(clips), -1))

    return rows


def write_composite(model: CompositeLSTM, path: Path) -> None:
    """Write the weights (safetensors), whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with whole(path) as partial:
        save_file(tensors, partial)


@torch.no_grad()
def _held_out(
    model: CompositeLSTM, clips: TrainClips, rows: Rows, choices: Pretraining
) -> tuple[float | None, float | None]:
    """Losses a clip of the network, and of the last frame seen as every frame to come and to rebuild."""
    if not len(clips):
        return None, None
    ours = still = 0.0
    for start in range(0, len(clips), choices.batch_size):
        batch = range(start, min(start + choices.batch_size, len(clips)))
        said = rows(torch.stack([clips[i][0] for i in batch]))
        past, future = said[:, : choices.past], said[:, choices.past :]
        ours += float(composite_loss(model, past, future)) * len(batch)
        still += 0.5 * float((said - past[:, -1:]).square().sum())
    return ours / len(clips), still / len(clips)


def _check(choices: Pretraining) -> None:
    for name in ("past", "future", "hidden", "layers", "epochs", "batch_size"):
        if getattr(choices, name) < 1:
            raise UsageError(f"{name} is {getattr(choices, name)}: at least 1 is wanted")
    if not choices.learning_rate > 0:
        raise UsageError(f"learning_rate is {choices.learning_rate}: above 0 is wanted")
