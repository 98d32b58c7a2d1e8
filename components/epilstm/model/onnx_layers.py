"""Nodes of an ONNX graph, and the layers that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Weights = Mapping[str, NDArray[np.float32]]

#: ONNX orders an LSTM's gates input, output, forget, candidate; torch input, forget, candidate, output.
ONNX_GATES_IN_TORCH = (0, 3, 1, 2)

#: What torch adds to the variance in `LayerNorm`.
LAYER_NORM_EPSILON = 1e-5


class Graph:
    """Nodes and constants in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Any, dtype: type = np.float32) -> str:
        """Add a constant; its name is what comes back."""
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype, order="C"), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, more: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node named for its (first) output, whose name is what comes back."""
        self.nodes.append(helper.make_node(op, list(inputs), [output, *more], name=f"make_{output}", **attributes))
        return output


def linear(graph: Graph, x: str, name: str, weight: NDArray[np.float32], output: str) -> str:
    """``x @ weight.T``."""
    return graph.add("MatMul", [x, graph.constant(f"{name}_weight", weight.T)], output)


def layer_norm(graph: Graph, x: str, name: str, weights: Weights, prefix: str, output: str) -> str:
    """Torch's `LayerNorm` over the last axis."""
    scale = graph.constant(f"{name}_weight", weights[f"{prefix}.weight"])
    shift = graph.constant(f"{name}_bias", weights[f"{prefix}.bias"])
    return graph.add("LayerNormalization", [x, scale, shift], output, axis=-1, epsilon=LAYER_NORM_EPSILON)


def recurrent_layer(
    graph: Graph,
    x: str,
    name: str,
    weights: Weights,
    prefix: str,
    output: str,
    *,
    directions: int = 1,
    softsign: bool = False,
    state: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> str:
    """An LSTM, time-major: ``x`` (time, batch, input) to ``output`` (time, batch, hidden * directions).

    Parameters
    ----------
    graph : Graph
    x, name, output : str
        Input, what its constants are named for, output.
    weights : mapping of str to array
    prefix : str
        Of its weights' names.
    directions : int
    softsign : bool
        The published cell.
    state : (sequence of str, sequence of str)
        Names of h and c before, each (1, batch, hidden), and after; zeros before where there are none.
    """
    suffixes = ("l0", "l0_reverse")[:directions]
    kernels = {
        kind: np.stack([_onnx_gates(weights[f"{prefix}.{kind}_{suffix}"]) for suffix in suffixes])
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    hidden_size = kernels["weight_hh"].shape[2]
    biases = np.concatenate([kernels["bias_ih"], kernels["bias_hh"]], axis=1)
    before, after = state
    inputs = [
        x,
        graph.constant(f"input_weight_{name}", kernels["weight_ih"]),
        graph.constant(f"recurrent_weight_{name}", kernels["weight_hh"]),
        graph.constant(f"biases_{name}", biases),
        *(["", *before] if before else []),
    ]
    attributes: dict[str, Any] = {"hidden_size": hidden_size}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    if softsign:
        attributes["activations"] = ["Sigmoid", "Softsign", "Softsign"]
    by_direction = graph.add("LSTM", inputs, f"hidden_{name}_by_direction", after, **attributes)
    if directions == 1:
        axis = graph.constant(f"direction_axis_{name}", [1], np.int64)
        return graph.add("Squeeze", [by_direction, axis], output)
    side_by_side = graph.add("Transpose", [by_direction], f"hidden_{name}_directions_last", perm=[0, 2, 1, 3])
    shape = graph.constant(f"joined_shape_{name}", [0, 0, 2 * hidden_size], np.int64)
    return graph.add("Reshape", [side_by_side, shape], output)


def _onnx_gates(torch_rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder the four blocks of rows, one per gate."""
    blocks = np.split(torch_rows, 4)
    return np.concatenate([blocks[gate] for gate in ONNX_GATES_IN_TORCH])
