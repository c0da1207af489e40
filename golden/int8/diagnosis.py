"""Why a model cannot be imported as a whole, in one line that says what to do."""

from __future__ import annotations

from collections import Counter

from .flatbuffer import File

__all__ = ["LFS_POINTER", "diagnose"]

#: What a Git LFS pointer begins with.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")

#: What takes real numbers as well.
_MOVES = (
    "CONCATENATION", "EXPAND_DIMS", "PACK", "PAD", "RESHAPE", "SHAPE", "SLICE", "SPLIT", "SPLIT_V",
    "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE", "UNPACK",
)  # fmt: skip

_CONVERT = (
    "convert with full integer quantization: converter.optimizations = [tf.lite.Optimize.DEFAULT], "
    "a representative_dataset, and supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)

#: What to do about an operator, by the beginning of its name.
_HINTS = {
    "CUSTOM 'edgetpu": "compiled for an Edge TPU: give the file that edgetpu_compiler has read",
    "CUSTOM 'ethos-u": "compiled by Vela for an Ethos-U: give the file that Vela has read",
    "CUSTOM 'TFLite_Detection_PostProcess": "detection boxes are put together after the network: "
    "export the model without post-processing",
    "CUSTOM 'Flex": "operators of TensorFlow itself: convert without SELECT_TF_OPS",
    "CUSTOM 'Signal": "sound goes in: export the network behind the front end",
}
_STATEFUL = ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "SVDF", "VAR_HANDLE")
_RECURRENT = ("LSTM", "RNN")  # in the names of operators whose state is their own
_STATE = (
    "a streaming model, which keeps state from run to run: export it without streaming, for a "
    "whole window"
)


def diagnose(file: File, supported: frozenset[str]) -> str:
    """Return why a model of the right schema cannot be imported, or "" if nothing is known yet."""
    for index, one in enumerate(file.operators):
        if one.code >= len(file.codes):
            return (
                f"operator {index} has operator code {one.code}; there are {len(file.codes)} "
                "operator codes"
            )
    kinds = Counter(file.codes[one.code].name for one in file.operators)
    missing = {kind: count for kind, count in kinds.items() if kind not in supported}
    hints = [hint for start, hint in _HINTS.items() if any(k.startswith(start) for k in missing)]
    names = {code.name for code in file.codes}
    if any(word in name for name in names for word in _RECURRENT):
        hints.append("recurrent layers are not supported")
    elif names & set(_STATEFUL) or any(tensor.variable for tensor in file.tensors):
        hints.append(_STATE)
    hints += _types(file)
    if missing:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(missing.items()))
        what = f"{sum(missing.values())} of {len(file.operators)} operators are not supported"
        return "; ".join([f"{what}: {listed}", *hints])
    if hints:
        return "; ".join(hints)
    if file.subgraphs != 1:
        return f"there must be 1 subgraph, not {file.subgraphs}"
    return ""


def _types(file: File) -> list[str]:
    """Return what the types of the operators with weights tell."""
    found: Counter[str] = Counter()
    for one in file.operators:
        if file.codes[one.code].name not in _WEIGHTED or len(one.inputs) < 2:
            continue
        places = (2, 1) if file.codes[one.code].name == "TRANSPOSE_CONV" else (0, 1)
        if not all(
            place < len(one.inputs) and 0 <= one.inputs[place] < len(file.tensors)
            for place in places
        ):
            continue
        source, weights = (file.tensors[one.inputs[place]].type for place in places)
        if source == "INT16":
            found["int16"] += 1
        elif source == "FLOAT32":
            found["float" if weights.startswith("FLOAT") else "hybrid"] += 1
    total = sum(file.codes[one.code].name in _WEIGHTED for one in file.operators)
    types = {tensor.type for tensor in file.tensors}
    computes = any(file.codes[one.code].name not in _MOVES for one in file.operators)
    if not total and computes and "FLOAT32" in types and not types & {"INT8", "UINT8", "INT16"}:
        return [f"a float model: {_CONVERT}"]
    words = {
        "float": ("a float model", "float layers"),
        "hybrid": (
            "a model with dynamic range quantization, int8 weights and float activations",
            "layers with int8 weights and float activations",
        ),
        "int16": ("a model with int16 activations (16x8)", "layers with int16 activations"),
    }
    advice = {"int16": f": only int8 is supported; {_CONVERT}"}
    return [
        (words[kind][0] if count == total else f"{count} of {total} are {words[kind][1]}")
        + advice.get(kind, f": {_CONVERT}")
        for kind, count in found.items()
    ]
