"""Does a lifted network answer a still clip as its image network does? Forty timm families, in one table.

    python studies/still_clip_families.py [--all] [--only NAME ...]

Each network has random weights, is woken (scales that are felt, statistics that are real), in float64, and
is lifted by Inflate(frames=3, start="average") at every convolution. Its logits on three equal frames are to
be the image network's on one, to 1e-8 relative; and damaging any one converted layer is to move them, which
shows that no layer is asleep. Exit code 1 if a row fails.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from timelift import Inflate, image_network, lift
from timelift.lifting import VideoModel
from timelift.testing import wake

EXACT = 1e-8  # relative
MOVED = 1e-6  # relative: a damaged layer is felt
SAMPLED = 20  # damaged layers of a network, unless --all

# kind, timm's name, side of the frames in pixels
NETWORKS = (
    ("Same-padded", "tf_efficientnet_lite0", 64),
    ("Same-padded", "tf_efficientnet_b0", 64),
    ("Same-padded", "tf_mobilenetv3_small_minimal_100", 64),
    ("Same-padded", "tf_efficientnetv2_b0", 64),
    ("weight-standardised", "resnetv2_50x1_bit", 64),
    ("weight-standardised", "nf_regnet_b0", 64),
    ("weight-standardised", "eca_nfnet_l0", 64),
    ("weight-standardised", "dm_nfnet_f0", 64),
    ("depthwise", "mobilenetv2_035", 64),
    ("depthwise", "mnasnet_small", 64),
    ("depthwise", "fbnetc_100", 64),
    ("depthwise", "convnext_atto", 64),
    ("depthwise", "hardcorenas_a", 64),
    ("depthwise", "xception41p", 96),
    ("densely connected", "densenet121", 64),
    ("densely connected", "densenet169", 64),
    ("densely connected", "densenetblur121d", 64),
    ("densely connected", "ese_vovnet19b_dw", 64),
    ("re-parametrised", "repvgg_a0", 64),
    ("re-parametrised", "mobileone_s0", 64),
    ("re-parametrised", "repghostnet_050", 64),
    ("re-parametrised", "repvit_m0_9", 64),
    ("squeeze-excitation", "regnety_002", 64),
    ("squeeze-excitation", "mobilenetv3_small_050", 64),
    ("squeeze-excitation", "seresnet18", 64),
    ("squeeze-excitation", "ghostnet_050", 64),
    ("group-norm", "resnet50_gn", 64),
    ("group-norm", "resnetv2_50d_gn", 64),
    ("group-norm", "test_efficientnet_gn", 64),
    ("plain", "resnet10t", 64),
    ("plain", "vgg11_bn", 64),
    ("plain", "inception_v3", 96),
    ("plain", "inception_v4", 96),
    ("plain", "dla34", 64),
    ("plain", "hrnet_w18_small", 64),
    ("plain", "res2net50_14w_8s", 64),
    ("plain", "regnetx_002", 64),
    ("plain", "darknet17", 64),
    ("plain", "cspresnet50", 64),
    ("plain", "resnest14d", 64),
    ("plain", "skresnet18", 64),
    ("plain", "selecsls42", 64),
)
AT_LEAST_THREE = ("Same-padded", "weight-standardised", "depthwise", "densely connected", "re-parametrised",
                  "squeeze-excitation", "group-norm")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What came of one network."""

    kind: str
    name: str
    converted: int
    difference: float  # relative
    damaged: int
    moved: int

    @property
    def holds(self) -> bool:
        """Whether the still clip is answered exactly, and no layer is asleep."""
        return self.difference <= EXACT and self.moved == self.damaged > 0


def check(kind: str, name: str, side: int, damage_all: bool = False, seed: int = 0) -> Row:
    """Lift one network, and damage its layers one at a time."""
    torch.manual_seed(seed)
    net = image_network(f"timm:{name}", classes=10, weights=None)
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(4, 3, side, side, generator=generator)
    net = wake(net, frames, seed)
    frame = frames[:1].double()
    with torch.no_grad():
        video = lift(net, Inflate(frames=3, start="average"), example=frame).eval()
        image = net(frame)
        still = frame.unsqueeze(2).expand(-1, -1, 3, -1, -1)
        difference = relative(video(still), image)
        layers = [row.layer for row in video.receipt.converted]
        chosen = layers if damage_all else evenly(layers, SAMPLED)
        moved = sum(relative(damaged(video, layer, still[:, :, :1]), image) > MOVED for layer in chosen)
    return Row(kind, name, len(layers), difference, len(chosen), moved)


def damaged(video: VideoModel, layer: str, still: Tensor) -> Tensor:
    """The answer with one layer's kernel halved at random places; the kernel is put back."""
    weight = video.image_net.get_submodule(layer).on_clips.weight
    kept = weight.clone()
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1), dtype=weight.dtype)
    weight.mul_(mask)
    answer = video(still)
    weight.copy_(kept)
    return answer


def evenly(layers: list[str], most: int) -> list[str]:
    """At most so many of the layers, the first and the last among them."""
    if len(layers) <= most:
        return layers
    return [layers[round(i * (len(layers) - 1) / (most - 1))] for i in range(most)]


def relative(one: Tensor, other: Tensor) -> float:
    """The largest difference, by the largest of the other's numbers."""
    return float((one - other).abs().max() / other.abs().max())


def main() -> int:
    """Print the table; 1 if a row fails or a kind has too few."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="damage every layer, not a sample")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these networks alone")
    chosen = parser.parse_args()
    table = Table("kind", "network", "converted", "still clip", "damaged", "moved", "")
    rows = []
    console = Console(width=None if sys.stdout.isatty() else 120)
    for kind, name, side in NETWORKS:
        if chosen.only and name not in chosen.only:
            continue
        row = check(kind, name, side, chosen.all)
        rows.append(row)
        numbers = (str(row.converted), f"{row.difference:.1e}", str(row.damaged), str(row.moved))
        table.add_row(kind, name, *numbers, "holds" if row.holds else "FAILS")
        print(f"{name}: {'holds' if row.holds else 'FAILS'}", file=sys.stderr)
    console.print(table)
    held = Counter(row.kind for row in rows if row.holds)
    few = [] if chosen.only else [kind for kind in AT_LEAST_THREE if held[kind] < 3]
    print(f"{sum(row.holds for row in rows)} of {len(rows)} networks hold")
    if few:
        print(f"fewer than three hold of: {', '.join(few)}")
    return 1 if few or not all(row.holds for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
