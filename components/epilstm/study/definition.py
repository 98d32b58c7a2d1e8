"""``studies.yaml``: which variants of the pipeline a study compares, and on which data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from epilstm.errors import ParamsError
from epilstm.params import SECTIONS, read_yaml, validate

#: Names of studies, variants and bases: parts of the names of experiments, which are git references.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]

#: A param as ``dvc exp run --set-param`` takes it.
Override = Annotated[str, Field(pattern=rf"^({'|'.join(SECTIONS)})(\.[a-z0-9_]+)+=.+$")]

#: The base that changes nothing.
AS_IT_STANDS = "params"

#: Stands in a base's overrides for the folder of its data.
DATA = "{data}"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Model):
    """Data that studies can run on: params that name it.

    `data` is the folder that ``{data}`` in `set` stands for, relative to the project.
    """

    about: str
    data: str | None = None
    set: list[Override] = []


class Variant(_Model):
    """One way to run the pipeline: params that are set, cell types whose tracks are left out."""

    set: list[Override] = []
    leave_out: list[str] = []


class Study(_Model):
    """Variants that differ in one thing; the first is what the others are compared with.

    `set` holds for every variant, and comes before its own.
    """

    about: str
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[1], min_length=1)
    set: list[Override] = []
    variants: dict[Name, Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Study:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is listed twice")
        return self


class Studies(_Model):
    """Content of the file."""

    bases: dict[Name, Base] = {}
    studies: dict[Name, Study]

    def study(self, name: str) -> Study:
        """A study by name.

        Raises
        ------
        ParamsError
            There is none.
        """
        if name not in self.studies:
            raise ParamsError(f"study {name!r}: unknown; studies are {', '.join(self.studies)}")
        return self.studies[name]

    def base_overrides(self, name: str, root: Path, data: Path | None) -> list[str]:
        """What a base sets.

        Parameters
        ----------
        name : str
            Of the base; `AS_IT_STANDS` sets nothing.
        root : Path
            Folder of the project.
        data : Path, optional
            Folder of the data, in place of the base's own.

        Raises
        ------
        ParamsError
            There is no such base, or no such folder.
        """
        if name == AS_IT_STANDS and data is not None:
            raise ParamsError(f"--data {data}: say with --on which data set it is; there are {', '.join(self.bases)}")
        if name == AS_IT_STANDS:
            return []
        if name not in self.bases:
            raise ParamsError(f"--on {name}: unknown; data sets are {', '.join([AS_IT_STANDS, *self.bases])}")
        base = self.bases[name]
        if not any(DATA in override for override in base.set):
            return list(base.set)
        folder = data or (root / base.data if base.data else None)
        if folder is None or not folder.is_dir():
            where = f"{folder}: no such folder" if folder else "its folder is not known"
            raise ParamsError(f"--on {name}: {where}; give it with --data")
        # Experiments run in a folder of their own, from which a relative path leads elsewhere.
        return [override.replace(DATA, str(folder.resolve())) for override in base.set]


def read_studies(path: Path) -> Studies:
    """Studies of a file.

    Raises
    ------
    ParamsError
        It is not there, or not one; the message names the key.
    """
    return validate(Studies, read_yaml(path), str(path))
