"""Variants as text: read, written, read again; every mistake is one line that quotes the user."""

import itertools

import pytest
import torch

from heart_tiny import clip
from test_conversions import EVERY_FACTORIZE, EVERY_INFLATE, EVERY_POOL
from timelift import (
    Factorize,
    Framewise,
    Inflate,
    bottom,
    build_variant,
    cycle,
    every,
    first,
    named,
    parse_variant,
    stages,
    top,
)
from timelift.networks.select import Rule
from timelift.records.errors import TimeliftError
from timelift.variants import Variant, build_image

CONVERSIONS = [
    Framewise(),
    *EVERY_INFLATE,
    *EVERY_FACTORIZE,
    *EVERY_POOL,
    Factorize(between="norm-act"),
    Inflate(3, alphas=(0.1, 0.2, 0.7)),
    cycle(Inflate(3, "zero"), Factorize(order="both"), Framewise()),
]
PLACES = [
    every,
    every(pointwise=True),
    first(2),
    stages(3, 4),
    top(0.5),
    bottom(0.25),
    named("a+b @ c.*"),
    named('layer1."x"'),
]


def test_every_conversion_and_place_comes_back_from_its_text():
    for conversion, place in itertools.product(CONVERSIONS, PLACES):
        variant = Variant("timm:resnet18", (("weights", None),), (Rule(conversion, place),))
        assert parse_variant(str(variant)) == variant, str(variant)


def test_many_rules_come_back_in_order():
    text = (
        "timm:resnet18(weights='a b+c@d(.pt') Inflate(frames=3) @ first(2) + MaxPool(frames=2) @ named('p')"
    )
    assert str(parse_variant(text)) == text
    assert parse_variant(text).options == (("weights", "a b+c@d(.pt"),)


@pytest.mark.parametrize(
    ("loose", "strict"),
    [
        ("timm:resnet18", "timm:resnet18 Framewise()"),
        (
            "  timm:resnet18   inflate( 3 ,'zero' )@first( 2 )  ",
            "timm:resnet18 Inflate(frames=3, start='zero') @ first(2)",
        ),
        ("timm:resnet18 Inflate", "timm:resnet18 Inflate(frames=3)"),
        (
            "timm:resnet18 Inflate()\n  + maxpool(2) @ named('p')",
            "timm:resnet18 Inflate(frames=3) + MaxPool(frames=2) @ named('p')",
        ),
        ("timm:r inflate(alphas=[1, 0, 0])", "timm:r Inflate(frames=3, alphas=(1.0, 0.0, 0.0))"),
        ("lenet5_3d(channels=(4, 6))", "lenet5_3d(channels=(4, 6))"),
        ("timm:r Inflate() @ every", "timm:r Inflate(frames=3)"),
    ],
)
def test_what_is_typed_loosely_is_written_in_one_way(loose, strict):
    assert str(parse_variant(loose)) == strict


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot read ''"),
        ("resnet18", "neither a system"),
        ("timm:r(3)", "named options"),
        ("timm:r(layers=3)", "no option 'layers'"),
        ("timm:r Inflat()", "'Inflat' is no conversion"),
        ("timm:r Inflate(", "cannot read 'Inflate('"),
        ("timm:r Inflate(frames=)", "cannot read the fields"),
        ("timm:r Inflate(frames=two)", "values are plain"),
        ("timm:r Inflate(__import__('os'))", "values are plain"),
        ("timm:r Inflate(2), Inflate(3)", "cannot read the fields"),
        ("timm:r Inflate(2)(3)", "cannot read the fields"),
        ("timm:r Inflate(frame=3)", "unexpected keyword argument 'frame'"),
        ("timm:r Inflate(frames=0)", "at least 1"),
        ("timm:r Inflate(frames='3')", "wanted a whole number"),
        ("timm:r Inflate() @ last(2)", "'last' is no place"),
        ("timm:r Inflate() @ first(0)", "at least 1"),
        ("timm:r Inflate() @ first()", "missing 1 required"),
        ("timm:r Inflate() @ first(1) @ first(2)", "more than one place"),
        ("timm:r Inflate() +", "cannot read ''"),
        ("timm:r cycle()", "cannot read ''"),
        ("lenet5_3d Inflate()", "lifted already"),
        ("lenet5_3d(depth=3)", "no option 'depth'"),
    ],
)
def test_every_mistake_is_one_line_that_quotes_the_text(text, words):
    with pytest.raises(TimeliftError) as caught:
        parse_variant(text)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert repr(text) in message


@pytest.fixture
def my_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(
        "from dataclasses import dataclass\n"
        "from timelift import Inflate\n"
        "@dataclass(frozen=True)\n"
        "class MyConversion:\n"
        "    frames: int = 3\n"
        "    def __call__(self, layer):\n"
        "        return Inflate(self.frames)(layer)\n"
        "def plain(layer):\n"
        "    return Inflate(3)(layer)\n"
        "def net():\n"
        "    from torch import nn\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten(), nn.Linear(4, 6))\n"
    )
    return tmp_path / "my_file.py"


@pytest.mark.parametrize("rule", ["MyConversion(frames=5)", "MyConversion()", "MyConversion", "plain"])
def test_a_users_own_conversion_reads_back_equal_and_works(my_file, rule):
    variant = parse_variant(f"my_file.py:net my_file.py:{rule} @ first(1)")
    assert parse_variant(str(variant)) == variant
    assert f"my_file.py:{rule}" in str(variant)
    video = build_variant(variant, classes=2)
    assert video(clip(6, side=9)).shape == (2, 2)
    assert len(video.receipt.converted) == 1


def test_a_users_own_conversion_in_a_cycle_reads_back(my_file):
    variant = parse_variant("my_file.py:net cycle(Inflate(2), my_file.py:MyConversion(5))")
    assert parse_variant(str(variant)) == variant


def test_a_changed_file_is_read_anew(my_file):
    before = parse_variant("my_file.py:net my_file.py:MyConversion()").rules[0].conversion
    my_file.write_text(my_file.read_text().replace("frames: int = 3", "frames: int = 7"))
    assert (
        before.frames,
        parse_variant("my_file.py:net my_file.py:MyConversion()").rules[0].conversion.frames,
    ) == (3, 7)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("none.py:X()", "none.py: there is no such file"),
        ("my_file.py:X()", "my_file.py has no 'X'"),
        ("my_file.py:MyConversion(length=3)", "unexpected keyword argument 'length'"),
    ],
)
def test_mistakes_in_a_users_own_rule(my_file, rule, words):
    with pytest.raises(TimeliftError) as caught:
        parse_variant(f"my_file.py:net {rule}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_variants_are_built_for_the_data():
    torch.manual_seed(0)
    video = build_variant("timm:resnet10t(weights=None) Inflate(3) @ first(1)", classes=4, in_channels=1)
    assert video(clip(3, channels=1)).shape == (2, 4)
    lenet = build_variant("lenet5_3d", classes=3, in_channels=1, frames=30, size=28)
    assert lenet(clip(30, channels=1, side=28)).shape == (2, 3)
    assert sum(p.numel() for p in build_variant("lenet5_3d", 10, 1).parameters()) == 375_668
    assert set(lenet.parameter_groups().values()) == {"new"}


def test_a_system_has_no_image_network():
    with pytest.raises(TimeliftError, match="a system has no image network"):
        build_image(parse_variant("lenet5_3d"), 3)
