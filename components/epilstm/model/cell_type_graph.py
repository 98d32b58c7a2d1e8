"""Cell types side by side as ONNX nodes; each function does what its namesake in torch does.

See `epilstm.model.by_cell_type` and `epilstm.model.cell_type_context`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from epilstm.model.cell_types import CellTypes
from epilstm.model.encoder_folder import STANDARDISED_BY_TIME
from epilstm.model.onnx_layers import Graph


def mark_missing(graph: Graph, uncovered: str, x: str, output: str) -> str:
    """`x` (batch, time, track) with NaN for each track that is uncovered in every bin: its assay is missing."""
    graph.add("Cast", [uncovered], "uncovered_or_not", to=TensorProto.FLOAT)
    graph.add("ReduceMin", ["uncovered_or_not"], "missing_or_not", axes=[1], keepdims=1)
    graph.add("Cast", ["missing_or_not"], "missing", to=TensorProto.BOOL)
    return graph.add("Where", ["missing", graph.constant("not_observed", np.nan), x], output)


def assays_by_time(graph: Graph, cell_types: CellTypes) -> str:
    """What the shared network sees of ``standardised_by_time``: (time, batch * cell type, 2 * assay)."""
    values, observed = of_assays(graph, STANDARDISED_BY_TIME, cell_types, 1, "bin")
    return graph.add("Concat", [values, observed], "assays_by_time", axis=2)


def of_assays(graph: Graph, x: str, cell_types: CellTypes, parts: int, name: str) -> tuple[str, str]:
    """Values and observed of `x` (time, batch, parts * track); names begin with `name`."""
    columns = np.asarray(cell_types.tracks)
    tracks, assays = int((columns >= 0).sum()), columns.shape[1]
    # By cell type, then part, then assay.
    by_part = np.stack([np.maximum(columns, 0) + part * tracks for part in range(parts)], axis=1)
    present = np.repeat(columns[:, None] >= 0, parts, axis=1)
    graph.add("Gather", [x, graph.constant(f"{name}_columns", by_part.ravel(), np.int64)], f"{name}_gathered", axis=2)
    graph.add("IsNaN", [f"{name}_gathered"], f"{name}_is_nan")
    graph.add("Not", [f"{name}_is_nan"], f"{name}_is_number")
    graph.add(
        "And", [f"{name}_is_number", graph.constant(f"{name}_present", present.ravel(), np.bool_)], f"{name}_known"
    )
    blank = graph.constant(f"{name}_blank", 0.0)
    graph.add("Where", [f"{name}_known", f"{name}_gathered", blank], f"{name}_values_side_by_side")
    shape = graph.constant(f"{name}_values_shape", [0, -1, parts * assays], np.int64)
    values = graph.add("Reshape", [f"{name}_values_side_by_side", shape], f"{name}_values")
    graph.add("Cast", [f"{name}_known"], f"{name}_known_or_not", to=TensorProto.FLOAT)
    graph.add("Reshape", [f"{name}_known_or_not", shape], f"{name}_known_by_part")
    observed = graph.add(
        "Slice", [f"{name}_known_by_part", *limits(graph, f"{name}_observed", 0, assays, 2)], f"{name}_observed"
    )
    return values, observed


def side_by_side(graph: Graph, codes: str, size: int, output: str) -> str:
    """Codes (time, batch * cell type, dim) as (time, batch, `size`)."""
    return graph.add("Reshape", [codes, graph.constant(f"{output}_shape", [0, -1, size], np.int64)], output)


def means_around(graph: Graph, x: str, reaches: Sequence[int], output: str) -> str:
    """Values of frames (frame, batch, column), then their means over so many frames on either side."""
    axis = graph.constant("frame_axis", [0], np.int64)
    graph.add("Cast", [x], "exact_means", to=TensorProto.DOUBLE)
    graph.add("CumSum", ["exact_means", graph.constant("frame_axis_number", 0, np.int64)], "running_sums")
    graph.add("Pad", ["running_sums", graph.constant("one_before", [1, 0, 0, 0, 0, 0], np.int64)], "running")
    graph.add("Shape", [x], "frames", start=0, end=1)
    graph.add("Squeeze", ["frames", axis], "frame_count")
    zero, one = (graph.constant(f"frame_{number}", number, np.int64) for number in (0, 1))
    graph.add("Range", [zero, "frame_count", one], "frame_numbers")
    parts = [x]
    for reach in reaches:
        far = graph.constant(f"reach_{reach}", reach, np.int64)
        past = graph.constant(f"past_{reach}", reach + 1, np.int64)
        graph.add("Add", ["frame_numbers", past], f"last_{reach}_unbounded")
        last = graph.add("Min", [f"last_{reach}_unbounded", "frame_count"], f"last_{reach}")
        graph.add("Sub", ["frame_numbers", far], f"first_{reach}_unbounded")
        first = graph.add("Max", [f"first_{reach}_unbounded", zero], f"first_{reach}")
        ends = [graph.add("Gather", ["running", place], f"running_at_{place}", axis=0) for place in (last, first)]
        graph.add("Sub", ends, f"sum_{reach}")
        graph.add("Sub", [last, first], f"frames_{reach}")
        graph.add("Cast", [f"frames_{reach}"], f"exact_frames_{reach}", to=TensorProto.DOUBLE)
        columns = graph.constant(f"two_axes_{reach}", [1, 2], np.int64)
        graph.add("Unsqueeze", [f"exact_frames_{reach}", columns], f"divisor_{reach}")
        graph.add("Div", [f"sum_{reach}", f"divisor_{reach}"], f"exact_mean_{reach}")
        parts.append(graph.add("Cast", [f"exact_mean_{reach}"], f"mean_{reach}", to=TensorProto.FLOAT))
    return graph.add("Concat", parts, output, axis=2)


def of_others(graph: Graph, means: str, observed: str, cell_types: CellTypes, parts: int) -> str:
    """Means (frame, batch * cell type, parts * assay) over the other cell types that have the assay."""
    width = parts * len(cell_types.assays)
    apart = graph.constant("cell_types_apart", [0, -1, cell_types.count, width], np.int64)
    together = graph.constant("cell_types_together", [0, -1, width], np.int64)
    axis = graph.constant("cell_type_axis", [2], np.int64)
    graph.add("Concat", [observed] * parts, "observed_by_part", axis=2)
    for name, x in (("sum", means), ("count", "observed_by_part")):
        graph.add("Reshape", [x, apart], f"{name}_apart")
        graph.add("ReduceSum", [f"{name}_apart", axis], f"{name}_of_all", keepdims=1)
        graph.add("Sub", [f"{name}_of_all", f"{name}_apart"], f"{name}_of_others")
    graph.add("Max", ["count_of_others", graph.constant("one_cell_type", 1.0)], "others")
    graph.add("Div", ["sum_of_others", "others"], "mean_of_others_apart")
    return graph.add("Reshape", ["mean_of_others_apart", together], "mean_of_others")


def limits(graph: Graph, name: str, first: int, last: int, axis: int) -> list[str]:
    """Inputs of a Slice along one axis."""
    return [
        graph.constant(f"{name}_{part}", [value], np.int64)
        for part, value in (("first", first), ("last", last), ("axis", axis))
    ]
