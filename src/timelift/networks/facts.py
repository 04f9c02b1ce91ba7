"""What an image network brings with it: its pixels, its last layer, and where its weights came from."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ImageFacts:
    """What the rooms beside the network need to know; kept as `net.image_facts`.

    input_size: (C, H, W), H and W those that the weights were trained at, or None.
    mean, std: per channel, on the 0..1 scale.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int] | None
    started_from: str
    classifier: str
    new_parameters: frozenset[str]
    notes: tuple[str, ...] = ()

    @property
    def pretrained(self) -> bool:
        """Whether anything but random numbers is in the trunk."""
        return not self.started_from.startswith("random")


def facts_of(net: nn.Module) -> ImageFacts:
    """What `image_network` knows of the network that it made."""
    return net.image_facts  # type: ignore[return-value]
