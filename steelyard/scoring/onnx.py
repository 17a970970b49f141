"""A learner stored as ONNX."""

from collections.abc import Callable

import numpy as np

from .kernels import Floats

Answer = Callable[[Floats], Floats]
"""Returns the raw probability of a win of each row, shape (n, k) → (n,)."""


def onnx_answer(content: bytes) -> Answer:
    """Return what answers for a classifier in ONNX, on one thread.

    Args:
        content: The model; its last output are the probabilities, shape (n, 2).

    Raises:
        ImportError: If onnxruntime is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    source, outputs = session.get_inputs()[0], [output.name for output in session.get_outputs()]
    kind = np.float32 if "float" in source.type and "double" not in source.type else np.float64

    def answer(x: Floats) -> Floats:
        given = session.run(outputs[-1:], {source.name: np.ascontiguousarray(x, dtype=kind)})[0]
        return np.asarray(given, dtype=np.float64)[:, 1]

    return answer
