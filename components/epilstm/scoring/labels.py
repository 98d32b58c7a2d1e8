"""Label files: each format into the same table of labelled examples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log
from epilstm.errors import LabelsError
from epilstm.files.text import csv_rows, whole_number
from epilstm.genome.assembly import Region, bed_intervals
from epilstm.genome.gtf import SECOND_COPY, read_annotation
from epilstm.genome.name_matching import likely_cause, named
from epilstm.scoring.tasks import BedLabels, PairLabels, RpkmLabels, Task

#: Base pairs on each side of a transcription start site that make the window ``tss``.
TSS_FLANK = 1_000

PAIR_COLUMNS = (
    "cell",
    "enhancer_chrom",
    "enhancer_start",
    "enhancer_end",
    "promoter_chrom",
    "promoter_start",
    "promoter_end",
    "label",
)


@dataclass(frozen=True)
class Examples:
    """Labelled examples of one task in one cell type.

    Parameters
    ----------
    names : (n,) list of str
        What an example is called: a gene, a region, a pair.
    chroms : (n, windows) array of str
        Chromosome of each window.
    starts, ends : (n, windows) int64 arrays
        Windows in base pairs, 0-based half-open; a window may be empty (between neighbours that touch).
    labels : (n,) bool array
    unusable : int
        Entries of the label files that make no example: without a value, without a place, or covering no base.
    levels : (n,) float64 array or None
        What a task of levels predicts; the labels then only spread the examples over folds.
    """

    names: list[str]
    chroms: NDArray[np.str_]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    labels: NDArray[np.bool_]
    unusable: int = 0
    levels: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, keep: NDArray[np.bool_]) -> Examples:
        """The examples where `keep` is true."""
        names = [name for name, kept in zip(self.names, keep, strict=True) if kept]
        return replace(
            self,
            names=names,
            chroms=self.chroms[keep],
            starts=self.starts[keep],
            ends=self.ends[keep],
            labels=self.labels[keep],
            levels=None if self.levels is None else self.levels[keep],
        )


def read_labels(task: Task, folder: Path) -> dict[str, Examples]:
    """Examples of a task, by cell type.

    Parameters
    ----------
    task : Task
    folder : Path
        What the task's label files are relative to.

    Raises
    ------
    LabelsError
        A file is missing or malformed (with its line), or does not have a cell type.
    """
    labels = task.labels
    require_label_files(task, folder)
    if isinstance(labels, RpkmLabels):
        genes = read_genes(folder / labels.annotation)
        table = read_rpkm(folder / labels.path, task.cell_types)
        return {
            cell: _gene_examples(
                task.windows, genes, table[cell], labels.threshold, folder / labels.annotation, task.of_levels
            )
            for cell in task.cell_types
        }
    if isinstance(labels, PairLabels):
        names = {cell: labels.cells.get(cell, cell) for cell in task.cell_types}
        return read_pairs(folder / labels.path, names, task.windows)
    if isinstance(labels, BedLabels):
        return {task.cell_types[0]: read_bed_labels(folder / labels.path)}
    return {task.cell_types[0]: read_bedgraph(folder / labels.path, labels.threshold, task.of_levels)}


def require_label_files(task: Task, folder: Path) -> None:
    """Check that the files that a task names are there.

    Raises
    ------
    LabelsError
        One is not.
    """
    for name in task.label_paths:
        if not (folder / name).exists():
            raise LabelsError(f"task {task.name}: {folder / name}: no such label file; check labels.path and --labels")


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelsError(f"{where}: expected a finite number, got {text!r}")
    return value


@dataclass(frozen=True)
class Gene:
    """A gene's body and strand (0-based, half-open)."""

    body: Region
    strand: str

    @property
    def tss(self) -> Region:
        """`TSS_FLANK` base pairs to either side of the transcription start."""
        position = self.body.start if self.strand == "+" else self.body.end
        return Region(self.body.chrom, position - TSS_FLANK, position + TSS_FLANK)


def read_genes(path: Path) -> dict[str, Gene]:
    """Genes of an annotation (GTF or GFF3), by gene id without its version suffix.

    Of a gene that GENCODE lists on both sex chromosomes, the one on X is taken. In an annotation without gene lines, a
    gene id may stand for several places (repeats): such genes are left out, with a warning.

    Raises
    ------
    LabelsError
        Missing, malformed, no genes, or an id that two gene lines share.
    """
    annotation = read_annotation(path)
    genes: dict[str, Gene] = {}
    repeated: set[str] = set()
    for gene in annotation.genes:
        if gene.gene_id.endswith(SECOND_COPY):
            continue
        if gene.strand not in ("+", "-"):
            raise LabelsError(f"{gene.where}: expected strand '+' or '-', got {gene.strand!r}")
        if not gene.gene_id:
            raise LabelsError(f"{gene.where}: no gene_id among the attributes")
        gene_id = gene.gene_id.partition(".")[0]
        if gene_id in genes:
            if annotation.made_of == "gene":
                raise LabelsError(f"{gene.where}: gene {gene_id} is listed twice (version suffixes do not count)")
            repeated.add(gene_id)
        genes[gene_id] = Gene(gene.region, gene.strand)
    if repeated:
        log.warning(
            f"{path}: {len(repeated):,} of {len(genes):,} genes, such as {min(repeated)}, have "
            f"{annotation.made_of}s in more than one place and are left out"
        )
    return {gene_id: gene for gene_id, gene in genes.items() if gene_id not in repeated}


def read_rpkm(path: Path, cell_types: list[str]) -> dict[str, dict[str, float]]:
    """Expression of genes in some cell types: cell type -> gene id -> RPKM.

    The table has the gene id first, and tabs (or commas, semicolons) between columns; empty columns at the end of
    lines do not count.

    Raises
    ------
    LabelsError
        Missing, malformed, a gene listed twice, or a cell type without a column.
    """
    table: dict[str, dict[str, float]] = {cell: {} for cell in cell_types}
    rows = csv_rows(path, "a table of expression", LabelsError)
    _, header = next(rows, (1, []))
    columns = {name.strip(): index for index, name in enumerate(header) if index > 0}
    for cell in cell_types:
        if cell not in columns:
            hint = likely_cause([cell], columns)
            raise LabelsError(
                f"{path}: no column for cell type {cell!r}; the table has {named(columns)}{f': {hint}' if hint else ''}"
            )
    for number, fields in rows:
        where = f"{path}:{number}"
        if len(fields) != len(header):
            raise LabelsError(f"{where}: expected {len(header)} columns as in the header, got {len(fields)}")
        gene_id = fields[0].strip().partition(".")[0]
        if gene_id in table[cell_types[0]]:
            raise LabelsError(f"{where}: gene {gene_id} is listed twice")
        for cell in cell_types:
            value = _number(fields[columns[cell]], f"{where}: column {cell}")
            if value < 0:
                raise LabelsError(f"{where}: column {cell}: RPKM cannot be negative, got {value:g}")
            table[cell][gene_id] = value
    return table


def _gene_examples(
    windows: list[str],
    genes: dict[str, Gene],
    rpkm: dict[str, float],
    threshold: float,
    annotation: Path,
    of_levels: bool = False,
) -> Examples:
    known = [gene_id for gene_id in rpkm if gene_id in genes]
    if rpkm and not known:
        raise LabelsError(
            f"{annotation}: has none of the table's genes ({named(rpkm)}) among its own ({named(genes)}); do the ids "
            "agree?"
        )
    rows = [
        [genes[gene_id].body if window == "gene_body" else genes[gene_id].tss for window in windows]
        for gene_id in known
    ]
    labels = [rpkm[gene_id] >= threshold for gene_id in known]
    levels = [math.log2(rpkm[gene_id] + 1) for gene_id in known] if of_levels else None
    return _examples(known, rows, labels, len(windows), len(rpkm) - len(known), levels)


def read_pairs(path: Path, names: dict[str, str], windows: list[str]) -> dict[str, Examples]:
    """Labelled promoter-enhancer pairs, by cell type.

    The window ``between`` runs from the end of the one to the start of the other; it is empty where they touch.

    Parameters
    ----------
    path : Path
        CSV with the columns `PAIR_COLUMNS`; coordinates as in BED, label 0 or 1.
    names : dict of str to str
        Cell type -> its name in the file.
    windows : list of str
        Of ``promoter``, ``enhancer``, ``between``.

    Raises
    ------
    LabelsError
        Missing, malformed, or a cell type without rows.
    """
    rows: dict[str, list[list[Region]]] = {name: [] for name in names.values()}
    ids: dict[str, list[str]] = {name: [] for name in rows}
    labels: dict[str, list[bool]] = {name: [] for name in rows}
    others: set[str] = set()
    table = csv_rows(path, "a table of pairs", LabelsError)
    _, header = next(table, (1, []))
    header = [column.strip() for column in header]
    missing = [column for column in PAIR_COLUMNS if column not in header]
    if missing:
        raise LabelsError(f"{path}: no column {missing[0]!r}; expected {', '.join(PAIR_COLUMNS)}")
    places = [header.index(column) for column in PAIR_COLUMNS]
    for number, fields in table:
        where = f"{path}:{number}"
        if len(fields) != len(header):
            raise LabelsError(f"{where}: expected {len(header)} columns, got {len(fields)}")
        cell, *values, label = (fields[place].strip() for place in places)
        if cell not in rows:
            others.add(cell)
            continue
        positive = whole_number(label)
        if positive not in (0, 1):
            raise LabelsError(f"{where}: label must be 0 or 1, got {label!r}")
        enhancer, promoter = _region(values[:3], where), _region(values[3:], where)
        first, second = sorted((enhancer, promoter))
        start = min(first.end, second.start)
        region = {
            "promoter": promoter,
            "enhancer": enhancer,
            "between": Region(promoter.chrom, start, max(start, second.start)),
        }
        rows[cell].append([region[window] for window in windows])
        ids[cell].append(f"{promoter}|{enhancer}")
        labels[cell].append(positive == 1)
    for cell, name in names.items():
        if not rows[name]:
            raise LabelsError(
                f"{path}: no rows for cell type {cell!r} ({name!r} in column 'cell'); "
                f"the file has {', '.join(sorted(others | {n for n in rows if rows[n]})) or 'none'}"
            )
    return {cell: _examples(ids[name], rows[name], labels[name], len(windows)) for cell, name in names.items()}


def _region(fields: list[str], where: str) -> Region:
    chrom, start, end = fields
    first, last = whole_number(start), whole_number(end)
    if first is None or last is None or first >= last:
        raise LabelsError(f"{where}: expected start below end, got {start!r} and {end!r}")
    return Region(chrom, first, last)


def read_bed_labels(path: Path) -> Examples:
    """Regions of a BED file, labelled by their fourth column.

    Raises
    ------
    LabelsError
        Missing or malformed, or a label that is not 0 or 1.
    """
    regions, labels = [], []
    unusable = 0
    for where, region, text in _bed_values(path, "BED"):
        label = whole_number(text)
        if label not in (0, 1):
            raise LabelsError(f"{where}: the fourth column must be 0 or 1, got {text!r}")
        if region is None:
            unusable += 1
            continue
        regions.append(region)
        labels.append(label == 1)
    return _region_examples(regions, labels, unusable)


def read_bedgraph(path: Path, threshold: float, of_levels: bool = False) -> Examples:
    """Regions of a bedGraph file; positive where the value reaches the threshold, unlabelled where it is NaN.

    With `of_levels`, the values are kept, too.

    Raises
    ------
    LabelsError
        Missing or malformed, or a value that is no number.
    """
    regions, labels, levels = [], [], []
    unlabelled = unusable = 0
    for where, region, value in _bed_values(path, "bedGraph"):
        if value.lower() == "nan":
            unlabelled += 1
            continue
        level = _number(value, where)
        if region is None:
            unusable += 1
            continue
        regions.append(region)
        labels.append(level >= threshold)
        levels.append(level)
    if unlabelled:
        log.info(f"{path}: {unlabelled:,} regions left out, their value is NaN")
    return _region_examples(regions, labels, unlabelled + unusable, levels if of_levels else None)


def _bed_values(path: Path, what: str) -> Iterator[tuple[str, Region | None, str]]:
    """Where each line is, its region (None where it covers no base; these are counted), and its fourth column."""
    empty = 0
    for number, region, fields in bed_intervals(path, what, LabelsError, empty=True):
        where = f"{path}:{number}"
        if len(fields) < 4:
            raise LabelsError(f"{where}: expected 'chrom start end label', got {' '.join(fields)!r}")
        # Published files have such lines: an interval past a chromosome's end, its end clipped to the size.
        if region.end <= region.start:
            empty += 1
            yield where, None, fields[3]
        else:
            yield where, region, fields[3]
    if empty:
        log.warning(f"{path}: {empty:,} regions cover no base and are left out")


def _region_examples(
    regions: list[Region], labels: list[bool], unusable: int, levels: list[float] | None = None
) -> Examples:
    names, rows = [str(region) for region in regions], [[region] for region in regions]
    return _examples(names, rows, labels, 1, unusable, levels)


def _examples(
    names: list[str],
    rows: list[list[Region]],
    labels: list[bool],
    windows: int,
    unusable: int = 0,
    levels: list[float] | None = None,
) -> Examples:
    shape = (len(rows), windows)
    flat = [region for row in rows for region in row]
    return Examples(
        names,
        np.array([region.chrom for region in flat], dtype=np.str_).reshape(shape),
        np.array([region.start for region in flat], dtype=np.int64).reshape(shape),
        np.array([region.end for region in flat], dtype=np.int64).reshape(shape),
        np.array(labels, dtype=bool),
        unusable,
        None if levels is None else np.array(levels, dtype=np.float64),
    )
