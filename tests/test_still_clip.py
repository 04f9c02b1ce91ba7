"""Networks of many families answer a still clip as their image network does."""

import importlib.util
import sys
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[1] / "studies" / "still_clip_families.py"
_SPEC = importlib.util.spec_from_file_location("still_clip_families", _FILE)
families = sys.modules["still_clip_families"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(families)

TINY = [
    ("weight-standardised", "test_nfnet", 64),
    ("re-parametrised", "test_byobnet", 64),
    ("group-norm", "test_efficientnet_gn", 64),
    ("plain", "test_resnet", 64),
]


@pytest.mark.parametrize(("kind", "name", "side"), TINY)
def test_small_networks_hold(kind, name, side):
    row = families.check(kind, name, side)
    assert row.holds, row


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "side"), families.NETWORKS)
def test_every_family_holds(kind, name, side):
    row = families.check(kind, name, side)
    assert row.holds, row


def test_the_families_are_enough_of_each_kind():
    kinds = [kind for kind, _, _ in families.NETWORKS]
    assert len(families.NETWORKS) >= 30
    assert all(kinds.count(kind) >= 3 for kind in families.AT_LEAST_THREE)


def test_layers_are_sampled_evenly():
    names = [str(i) for i in range(50)]
    assert families.evenly(names, 3) == ["0", "24", "49"]
    assert families.evenly(names[:3], 20) == names[:3]
