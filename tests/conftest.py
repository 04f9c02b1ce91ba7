"""What every test may ask for, and the number of threads that all of them run with."""

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """One thread: tests run side by side, and sums are added in one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos and weights; a file that is missing in it fails the test that reads it."""
    folder = Path(os.environ.get("TIMELIFT_SHARED") or REPOSITORY.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: give the real data by TIMELIFT_SHARED")
    return folder


@pytest.fixture
def generator() -> torch.Generator:
    """The same random numbers for every test."""
    return torch.Generator().manual_seed(0)
