"""OpenVINO's two files, .xml and .bin beside it, made of the ONNX file (extra `export`)."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from timelift.deploy import onnx_file
from timelift.deploy.files import Opened, needed
from timelift.deploy.program import Program

NEEDS = ("openvino", "onnx", "onnxscript")
_TEXT = ["timelift", "facts"]  # where the model keeps the text


def write(program: Program, text: str, path: Path) -> None:
    """The program with weights in float32, the text inside the .xml.

    Raises:
        UsageError: without openvino, onnx and onnxscript.
    """
    with TemporaryDirectory() as folder:
        between = Path(folder) / "between.onnx"
        onnx_file.write(program, text, between)
        convert(between, text, path)


def convert(onnx: Path, text: str, path: Path) -> None:
    """An ONNX file as OpenVINO's.

    Raises:
        UsageError: without openvino.
    """
    needed("openvino", "openvino")
    import openvino

    model = openvino.Core().read_model(onnx)
    model.set_rt_info(text, _TEXT)
    openvino.save_model(model, path, compress_to_fp16=False)


def read(path: Path, precision: str = "f32") -> Opened:
    """A model compiled for this CPU; precision: f32, or bf16 where the processor has it.

    Raises:
        UsageError: without openvino.
    """
    needed("openvino", "openvino")
    import openvino

    model = openvino.Core().read_model(path)
    text = model.get_rt_info(_TEXT).astype(str) if model.has_rt_info(_TEXT) else ""
    choices = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.compile_model(model, "CPU", choices)

    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        answers = compiled([tensor.numpy() for tensor in inputs], share_outputs=False)
        return tuple(torch.as_tensor(answers[output]) for output in compiled.outputs)

    return Opened(run, text)
