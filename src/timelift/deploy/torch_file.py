"""torch.export's own file, .pt2: `torch.export.load(FILE).module()(clip)` runs it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from timelift.deploy.files import Opened
from timelift.deploy.program import Program, quiet

NEEDS = ()
_TEXT = "timelift.json"


def write(program: Program, text: str, path: Path) -> None:
    """One archive, the text inside."""
    with quiet():
        torch.export.save(program.traced, path, extra_files={_TEXT: text})


def read(path: Path) -> Opened:
    """The archive again; outputs by place."""
    stored = {_TEXT: ""}
    with quiet():
        network = torch.export.load(path, extra_files=stored).module()

    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            answer = network(*inputs)
        return answer if isinstance(answer, tuple) else (answer,)

    return Opened(run, str(stored[_TEXT]))
