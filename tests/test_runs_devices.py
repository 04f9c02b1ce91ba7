"""Which worker computes where, as a function of device, workers and GPUs; no GPU is needed to check it."""

import pytest
import torch

from timelift.records import UsageError
from timelift.runs import devices
from timelift.runs.devices import default_workers, worker_devices


def names(device: str, workers: int, gpus: int) -> list[str]:
    return [str(one) for one in worker_devices(torch.device(device), workers, gpus)]


def test_workers_take_the_gpus_in_turn():
    assert names("cuda", 4, 2) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert names("cuda", 1, 3) == ["cuda:0"]
    assert names("cuda", 5, 3) == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]


@pytest.mark.parametrize(("device", "gpus"), [("cuda:1", 2), ("cuda:0", 1), ("mps", 0), ("cpu", 2)])
def test_a_device_with_a_number_and_one_that_is_alone_take_all_workers(device, gpus):
    assert names(device, 3, gpus) == [device] * 3


@pytest.mark.parametrize(
    ("device", "gpus", "there"),
    [("cuda:2", 2, "cuda:0 to cuda:1"), ("cuda:1", 1, "cuda:0 alone"), ("cuda", 0, "no GPU")],
)
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(device, gpus, there):
    with pytest.raises(UsageError, match=f"--device {device}: this machine has {there}"):
        worker_devices(torch.device(device), 2, gpus)


def test_by_default_a_worker_a_core_or_a_gpu(monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: 6)
    monkeypatch.setattr(devices, "gpus", lambda: 3)
    wanted = {"cpu": 6, "cuda": 3, "cuda:1": 1, "mps": 1}
    assert {name: default_workers(torch.device(name)) for name in wanted} == wanted
