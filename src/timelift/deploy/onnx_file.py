"""ONNX, .onnx: one file with its weights, run here by onnxruntime (extra `export`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from timelift.deploy.files import Opened, needed
from timelift.deploy.program import Program, quiet

NEEDS = ("onnx", "onnxscript", "onnxruntime")
_TEXT = "timelift"  # the key among the model's metadata


def write(program: Program, text: str, path: Path) -> None:
    """The program under its names, the text among the metadata.

    Raises:
        UsageError: without onnx and onnxscript.
    """
    needed("onnx", "onnx", "onnxscript")
    with quiet():
        made = torch.onnx.export(
            program.traced,
            dynamo=True,
            verbose=False,
            input_names=program.inputs,
            output_names=program.outputs,
        )
        assert made is not None
        for value in (*made.model.graph.inputs, *made.model.graph.outputs):
            _name_batch(value)
        made.model.metadata_props[_TEXT] = text
        made.save(path, external_data=False)


def _name_batch(value: Any) -> None:
    """A program has one free size: the batch, whatever the exporter calls it."""
    for i, size in enumerate(value.shape):
        if not isinstance(size, int):
            value.shape[i] = "batch"


def read(path: Path) -> Opened:
    """A session of onnxruntime.

    Raises:
        UsageError: without onnxruntime.
    """
    needed("onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return tuple(map(torch.as_tensor, session.run(None, given)))

    return Opened(run, session.get_modelmeta().custom_metadata_map.get(_TEXT, ""))
