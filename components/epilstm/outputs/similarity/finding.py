"""``epilstm similar``: queries from regions, a BED file or vectors; similar regions as a table or BED."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from epilstm import __version__
from epilstm.console import log
from epilstm.errors import DataError, GenomeError, LabelsError
from epilstm.files.outputs import fingerprint, sha256_file, write_json, written_whole
from epilstm.genome import gtf
from epilstm.genome.assembly import Assembly, Placement, Region, bed_intervals, parse_region
from epilstm.genome.name_matching import match_names
from epilstm.outputs.similarity.search import find_similar
from epilstm.outputs.similarity.windows import Windows, open_windows
from epilstm.runtime.runner import check_apart, record_path
from epilstm.store.bin_ranges import sizes_of
from epilstm.store.manifests import EmbeddingsManifest, read_manifest

if TYPE_CHECKING:
    import pandas

COLUMNS = ("chrom", "start", "end", "query", "score", "strand", "distance", "p", "gene", "gene_distance")


@dataclass(frozen=True)
class Request:
    """What is searched, and how.

    Parameters
    ----------
    embeddings : Path
        Dataset.
    windows : Path or None
        Folder of its windows, which is made where it is missing; beside the dataset if None.
    regions : sequence of str
        ``chrom:start-end``.
    bed : Path or None
        More queries; the fourth column names them.
    vectors : Path, array or None
        The embedding of a query, (dim,) or (window, dim), or a ``.npy`` file of it.
    cell_type : str or None
        Of a model that cell types share, whose code is compared.
    window_bp : int
    top : int
        Hits of each query at most.
    annotation : Path or None
        GTF or GFF3, for the closest gene.
    """

    embeddings: Path
    windows: Path | None = None
    regions: Sequence[str] = ()
    bed: Path | None = None
    vectors: Path | NDArray[np.floating] | None = None
    cell_type: str | None = None
    window_bp: int = 1_000
    top: int = 100
    annotation: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Files that are read, by option."""
        named = {"regions": self.bed, "vector": self.vectors, "annotation": self.annotation}
        return {name: path for name, path in named.items() if isinstance(path, Path)}

    @property
    def folder(self) -> Path:
        """Where the windows are kept."""
        name = f"{self.embeddings.name}.windows" + (f".{self.cell_type}" if self.cell_type else "")
        return self.windows or self.embeddings.with_name(name)


@dataclass(frozen=True)
class Query:
    """A query: its name, its vectors (window, dim), standardised, and its windows where it lies in the genome."""

    name: str
    vectors: NDArray[np.float32]
    own: tuple[str, int, int] | None = None


@dataclass(frozen=True)
class SimilarRegion:
    """A row of the result; see `epilstm.outputs.similarity.search.Hit` for distance and p."""

    region: Region
    query: str
    reverse: bool
    distance: float
    p: float
    gene: str = "."
    gene_distance: int | None = None

    @property
    def place(self) -> tuple[str, int, int]:
        """Chromosome, start and end."""
        return self.region.chrom, self.region.start, self.region.end

    def fields(self) -> list[str]:
        """The row as text, in the order of `COLUMNS`; BED's score is -100 log10 p, at most 1000."""
        score = min(1000, round(-100 * math.log10(self.p)))
        return [
            *map(str, self.place),
            self.query,
            str(score),
            "-" if self.reverse else "+",
            f"{self.distance:.4f}",
            f"{self.p:.3g}",
            self.gene,
            "." if self.gene_distance is None else str(self.gene_distance),
        ]


def similar(
    embeddings: str | Path,
    query: str | Sequence[str] | NDArray[np.floating],
    *,
    top: int = 100,
    window_bp: int = 1_000,
    cell_type: str | None = None,
    annotation: str | Path | None = None,
    windows: str | Path | None = None,
) -> pandas.DataFrame:
    """Regions whose embeddings are most like those of a region.

    Parameters
    ----------
    embeddings : path
        Dataset that embed wrote.
    query : str, sequence of str, or array
        ``chrom:start-end`` (0-based, half-open), several of them, or an embedding, (dim,) or (window, dim).
    top : int
        Regions per query at most.
    window_bp : int
        Base pairs that are pooled; a query of several windows is compared window by window, in both directions.
    cell_type : str, optional
        Of a model that cell types share, whose code is compared.
    annotation : path, optional
        GTF or GFF3, for the closest gene.
    windows : path, optional
        Where pooled embeddings are kept; ``<embeddings>.windows`` if not given.

    Returns
    -------
    DataFrame
        ``chrom``, ``start``, ``end``, ``query``, ``strand`` (``-`` where the region is like the reversed query),
        ``distance`` (root mean square difference, in standard deviations), ``p`` (share of all places of the genome
        that are as close), ``gene``, ``gene_distance``.

    Raises
    ------
    EpilstmError
        Names the first thing that cannot be used.
    """
    import pandas

    texts = [query] if isinstance(query, str) else [] if isinstance(query, np.ndarray) else list(query)
    found = run(
        Request(
            Path(embeddings),
            None if windows is None else Path(windows),
            texts,
            vectors=query if isinstance(query, np.ndarray) else None,
            cell_type=cell_type,
            window_bp=window_bp,
            top=top,
            annotation=None if annotation is None else Path(annotation),
        ),
        None,
    )
    columns = ["chrom", "start", "end", "query", "strand", "distance", "p", "gene", "gene_distance"]
    content = [
        (*row.place, row.query, "-" if row.reverse else "+", row.distance, row.p, row.gene, row.gene_distance)
        for row in found
    ]
    return pandas.DataFrame(content, columns=columns)


def run(request: Request, output: Path | None) -> list[SimilarRegion]:
    """Search, and write the result where an output is named.

    Raises
    ------
    EpilstmError
        Names the first thing that cannot be used.
    """
    started = time.perf_counter()
    if output is not None:
        check_apart({"embeddings": request.embeddings, **request.files}, {"to": output}, {})
    manifest = read_manifest(request.embeddings, EmbeddingsManifest)
    assembly = Assembly(manifest.assembly, sizes_of(manifest))
    regions = asked_regions(request, assembly)
    genes = None if request.annotation is None else Genes.read(request.annotation, assembly.sizes)
    windows = open_windows(request.folder, request.embeddings, request.cell_type, request.window_bp)
    queries = list(queries_of(request, regions, windows))
    found = [row for query in queries for row in similar_to(query, windows, request.top, genes)]
    seconds = round(time.perf_counter() - started, 3)
    if output is not None:
        with written_whole(output, folder=False) as staged:
            staged.write_text(table(found), encoding="utf-8")
        write_json(record_path(output), record_of(request, windows, len(queries), len(found), seconds))
        log.info(f"{len(found):,} regions similar to {len(queries):,} queries: {output} ({seconds:.1f} s)")
    return found


def table(rows: Sequence[SimilarRegion]) -> str:
    """BED of six columns with further ones, under a comment that names them."""
    return "\n".join(["#" + "\t".join(COLUMNS), *("\t".join(row.fields()) for row in rows), ""])


def record_of(request: Request, windows: Windows, queries: int, hits: int, seconds: float) -> dict[str, Any]:
    """What the result was made of."""
    return {
        "command": "similar",
        "version": __version__,
        "embeddings_fingerprint": windows.manifest.embeddings_fingerprint,
        "windows_fingerprint": fingerprint(request.folder),
        "cell_type": request.cell_type,
        "window_bp": request.window_bp,
        "top": request.top,
        "region": list(request.regions),
        **{f"{name}_sha256": sha256_file(path) for name, path in request.files.items()},
        "queries": queries,
        "hits": hits,
        "seconds": seconds,
    }


@dataclass(frozen=True)
class AskedRegion:
    """A region that is a query, its name, and where it was given, for messages."""

    region: Region
    name: str
    where: str


def asked_regions(request: Request, assembly: Assembly) -> list[AskedRegion]:
    """Regions of the queries, in the order in which they are given.

    Raises
    ------
    GenomeError
        A region is not of the assembly.
    """
    found = [AskedRegion(parse_region(text, assembly), text, f"--region {text}") for text in request.regions]
    if request.bed is None:
        return found
    placement = Placement(assembly.sizes)
    placed = []
    for number, region, fields in bed_intervals(request.bed):
        inside = placement.place(region)
        if inside is not None:
            name = fields[3] if len(fields) > 3 else str(region)
            placed.append(AskedRegion(inside, name, f"{request.bed}:{number}"))
    placement.report(str(request.bed), "the embeddings")
    if not placed:
        raise GenomeError(f"{request.bed}: no interval in it")
    return found + placed


def queries_of(request: Request, regions: Sequence[AskedRegion], windows: Windows) -> Iterator[Query]:
    """Queries: the regions, then the vector.

    Raises
    ------
    GenomeError
        A region has no embeddings.
    DataError
        The vectors are unusable.
    """
    for asked in regions:
        yield _query_of(asked.region, asked.name, asked.where, windows)
    if isinstance(request.vectors, Path):
        where = f"--vector {request.vectors}"
        yield Query(request.vectors.name, _checked(_read_array(request.vectors), where, windows))
    elif request.vectors is not None:
        yield Query("vector", _checked(request.vectors, "the vector", windows))


def _query_of(region: Region, name: str, where: str, windows: Windows) -> Query:
    size = windows.manifest.window_bp
    first, last = region.start // size, -(-region.end // size)
    for chrom, begin, vectors in windows.runs():
        if chrom == region.chrom and begin <= first and last <= begin + len(vectors):
            own = np.array(vectors[first - begin : last - begin])
            if np.isnan(own).any():
                raise GenomeError(f"{where}: {region}: some windows have data in less than half of their bins")
            return Query(name, own, (chrom, first, last))
    raise GenomeError(f"{where}: {region}: not inside a region of the embeddings, in whole windows of {size:,} bp")


def _read_array(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"--vector {path}: not an array that numpy.save wrote: {error}") from error


def _checked(vectors: NDArray[Any], where: str, windows: Windows) -> NDArray[np.float32]:
    """Vectors of a query, (window, dim), standardised."""
    size = len(windows.manifest.dimensions)
    by_window = np.atleast_2d(vectors)
    if by_window.ndim != 2 or by_window.shape[1] != size or not len(by_window):
        raise DataError(f"{where}: has shape {vectors.shape}, expected ({size},) or (windows, {size})")
    if by_window.dtype.kind not in "fiu" or not np.isfinite(by_window).all():
        raise DataError(f"{where}: has values that are not finite numbers")
    return windows.standardised(by_window)


def similar_to(query: Query, windows: Windows, top: int, genes: Genes | None) -> list[SimilarRegion]:
    """The most similar regions of one query, the closest first."""
    size, sizes = windows.manifest.window_bp, windows.manifest.chromosome_sizes
    rows = []
    for hit in find_similar(query.vectors, windows.runs(), top, query.own):
        region = Region(hit.chrom, hit.first * size, min(hit.last * size, sizes[hit.chrom]))
        gene, distance = (".", None) if genes is None else genes.closest(region)
        rows.append(SimilarRegion(region, query.name, hit.reverse, hit.distance, hit.p, gene, distance))
    return rows


@dataclass(frozen=True)
class Genes:
    """Genes by chromosome: names, and (n, 2) int64 arrays of starts and ends."""

    by_chromosome: Mapping[str, tuple[list[str], NDArray[np.int64]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, chromosomes: Mapping[str, int]) -> Genes:
        """Genes of an annotation.

        Raises
        ------
        LabelsError
            It is unusable, or has no gene on any chromosome of the embeddings.
        """
        annotation = gtf.read_annotation(path)
        match_names(
            annotation.chromosomes,
            chromosomes,
            f"--annotation {path}",
            "the embeddings",
            what="genes",
            error=LabelsError,
            partial=logging.INFO,
        )
        gathered: dict[str, list[gtf.AnnotatedGene]] = {}
        for gene in annotation.genes:
            gathered.setdefault(gene.region.chrom, []).append(gene)
        return cls(
            {
                chrom: ([gene.name for gene in own], np.array([(gene.region.start, gene.region.end) for gene in own]))
                for chrom, own in gathered.items()
            }
        )

    def closest(self, region: Region) -> tuple[str, int | None]:
        """Name of the closest gene and the base pairs to it, 0 where it overlaps; ``.`` and None if there is none."""
        if region.chrom not in self.by_chromosome:
            return ".", None
        names, spans = self.by_chromosome[region.chrom]
        apart = np.maximum(np.maximum(spans[:, 0] - region.end + 1, region.start - spans[:, 1] + 1), 0)
        best = int(apart.argmin())
        return names[best], int(apart[best])
