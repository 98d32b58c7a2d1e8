"""Compact vectors for every 25-bp bin of the genome, from epigenomic signal tracks.

In Python: `load` a model folder, then `Model.embed`, `Model.reconstruct`, `Model.save`; `similar` finds regions whose
embeddings are like those of a region (docs/python.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# onnxruntime (1.31) otherwise keeps a device id and a database under ~/.cache and reports usage over the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = ["Model", "__version__", "load", "similar"]

if TYPE_CHECKING:
    from epilstm.model.python_interface import Model as Model
    from epilstm.model.python_interface import load as load
    from epilstm.outputs.similarity.finding import similar as similar


def __getattr__(name: str) -> Any:
    # torch, zarr and pandas load with the first use of a model, not with the package (PEP 562).
    if name in ("Model", "load"):
        from epilstm.model import python_interface

        return getattr(python_interface, name)
    if name == "similar":
        from epilstm.outputs.similarity.finding import similar

        return similar
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
