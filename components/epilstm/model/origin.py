"""Where an imported model comes from: ``origin.json`` beside the weights in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from epilstm.files.outputs import read_json
from epilstm.model.initial_weights import InitialWeightsTest
from epilstm.store.manifests import parse_manifest

ORIGIN = "origin.json"


class Origin(BaseModel):
    """What is known of an imported model.

    Parameters
    ----------
    files : dict of str to str
        Name of each file that was read -> SHA-256.
    settings : dict
        What the checkpoint's configuration says of its training.
    track_names : str
        ``given``, or ``placeholder`` where the checkpoint came without names.
    initial_weights : InitialWeightsTest
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["epilstm.origin/1"] = "epilstm.origin/1"
    files: dict[str, str]
    settings: dict[str, Any]
    track_names: Literal["given", "placeholder"]
    initial_weights: InitialWeightsTest

    @property
    def warnings(self) -> list[str]:
        """What a user of the model has to know; one line each."""
        differences = []
        test = self.initial_weights
        if not test.differs:
            clipping = self.settings.get("max_norm")
            why = f"; its configuration clips gradients to norm {clipping:g}" if isinstance(clipping, float) else ""
            differences.append(
                f"the weights do not differ from their initial distribution, U(-{test.bound:.3f}, {test.bound:.3f}): "
                f"none is outside, and the smallest of {len(test.tensors)} Kolmogorov-Smirnov p-values is "
                f"{test.smallest_p:.2g} (Holm-adjusted){why}; take this for an untrained model"
            )
        if self.track_names == "placeholder":
            differences.append(
                "the checkpoint does not name its tracks: they are called track_0001, track_0002, ... in its order, "
                "and no samplesheet will match; name them with --tracks"
            )
        return differences


def read_origin(folder: Path) -> Origin | None:
    """Origin of a model folder; None where the model was trained here.

    Raises
    ------
    DataError
        The file is not what the import writes.
    """
    path = folder / ORIGIN
    return parse_manifest(read_json(path), Origin, path) if path.is_file() else None
