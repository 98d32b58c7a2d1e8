"""A trained autoencoder in Python: `load`, then `Model.embed`, `Model.reconstruct`, `Model.save`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError, ModelError, ParamsError
from epilstm.files.outputs import MANIFEST, put_back, read_json, write_json, written_whole
from epilstm.genome.assembly import load_assembly
from epilstm.model.chosen_codes import ChosenCodes, choose_codes
from epilstm.model.chunks import context_bins
from epilstm.model.folder import (
    WEIGHTS,
    ModelManifest,
    checked_weights,
    load_model,
    network_of,
    read_model_manifest,
    read_weights,
    save_model,
    save_weights,
)
from epilstm.model.origin import ORIGIN, Origin, read_origin
from epilstm.model.regions import LabelledRegion, labelled_regions
from epilstm.model.signal_sources import Missing, Rows, Source, Wanted, open_source, raw_array
from epilstm.runtime.runner import record_path
from epilstm.store.manifests import dimension_names
from epilstm.store.standardisation import to_signal
from epilstm.tracks.identity import select_tracks

if TYPE_CHECKING:
    import pandas as pd

    from epilstm.model.imputer import Imputer
    from epilstm.model.networks import Autoencoder
    from epilstm.model.onnx_encoding import OnnxEncoding

#: Values (bins x tracks) run at a time: 80 MB in float32.
BLOCK_VALUES = 20_000_000

Scale = Literal["signal", "standardised"]
Run = Callable[[NDArray[np.floating]], NDArray[np.float32]]


@dataclass
class _Span:
    """Bins `first` to before `last`, with context from `reach`, and the regions (by number) that lie in them."""

    chrom: str
    first: int
    last: int
    reach: tuple[int, int]
    numbers: list[int]


class Model:
    """A trained autoencoder with the tracks and the standardisation that it was trained on.

    Made by `epilstm.load`. Signal is raw everywhere: as in the bigWigs, mean per bin, NaN for no data.

    Parameters
    ----------
    network : torch.nn.Module, or a function that returns it
        In evaluation mode. A function is called when the network is first needed.
    manifest : ModelManifest
        Tracks, scaler, assembly, bin size.
    origin : Origin, optional
        Where an imported model comes from.
    encoding : OnnxEncoding, optional
        The network's encoder in onnxruntime, which embeds in its place.
    imputer : Imputer, optional
        Of a model that imputes cell types which training never saw, or what makes it at its first use.
    """

    def __init__(
        self,
        network: Autoencoder | Callable[[], Autoencoder],
        manifest: ModelManifest,
        origin: Origin | None = None,
        encoding: OnnxEncoding | None = None,
        imputer: Imputer | partial[Imputer] | None = None,
    ) -> None:
        self.manifest, self.origin = manifest, origin
        self._given_network, self._encoding, self._given_imputer = network, encoding, imputer

    @cached_property
    def network(self) -> Autoencoder:
        """The network in torch, which its first use imports; changed weights are those that embed."""
        from epilstm.model.networks import Autoencoder

        given = self._given_network
        return given if isinstance(given, Autoencoder) else given()

    @cached_property
    def imputer(self) -> Imputer | None:
        """The imputer in torch, which its first use imports; None where the model has none."""
        given = self._given_imputer
        return given() if isinstance(given, partial) else given

    @property
    def tracks(self) -> list[str]:
        """Names of the tracks, such as ``E003-H3K4me3``, in the order of an array's columns."""
        return list(self.manifest.tracks)

    @property
    def embedding_size(self) -> int:
        """Numbers per bin."""
        return self.manifest.config.embedding_size

    @property
    def dimensions(self) -> list[str]:
        """Names of the embedding's columns in a table: ``e0``, ``e1``, ...; by cell type, ``E116.bin.01``, ..."""
        return choose_codes(self.manifest.config, None, "cell_types").names or dimension_names(self.embedding_size)

    def dimensions_of(self, cell_type: str) -> list[str]:
        """Columns of one cell type's code in a table, of a model that cell types share (``train.kind: cell_types``).

        Raises
        ------
        ParamsError
            The model has one code of all tracks, or does not know the cell type.
        """
        columns = self.manifest.config.code_columns
        if columns is None:
            raise ParamsError("the model has one code of all tracks, none of each cell type; take `dimensions`")
        if cell_type not in columns:
            raise ParamsError(f"the model has no cell type {cell_type!r}; it has {', '.join(columns)}")
        return [self.dimensions[column] for column in columns[cell_type]]

    @property
    def bin_size(self) -> int:
        """Bases per bin."""
        return self.manifest.bin_size

    @property
    def assembly(self) -> str:
        """Name, or path of a chrom.sizes file."""
        return self.manifest.assembly

    def __repr__(self) -> str:
        return (
            f"<epilstm.Model {self.manifest.config.architecture}: {len(self.manifest.tracks):,} tracks -> "
            f"{self.embedding_size} numbers per {self.bin_size}-bp bin, {self.assembly}>"
        )

    def embed(
        self,
        signal: Any,
        regions: Any = None,
        *,
        missing: Missing = "error",
        cell_types: str | Sequence[str] | None = None,
        assembly: str | Path | None = None,
        blacklist: str | Path | None = None,
        downloads: str | Path | None = None,
    ) -> NDArray[np.float32] | pd.DataFrame:
        """Embedding of every bin.

        Parameters
        ----------
        signal : array, pandas.DataFrame, or path
            An array (bins, tracks) of consecutive bins, columns in the order of `tracks`; a table with columns named
            for tracks, in any order; or the path of a samplesheet, of a signal dataset or of a matrix dataset.
        regions : str, Path, tuple, list of these, or pandas.DataFrame, optional
            What to embed: ``"chr1:10000-20000"`` (0-based, half-open), ``"chr1"``, a BED file, ``(chrom, start, end)``
            or a table with the columns ``chrom``, ``start`` and ``end``; taken in the order given, each widened to
            whole bins. A samplesheet needs them; a dataset has its own. With an array, the one region that it is of.
        missing : {'error', 'mask'}
            What to do about tracks that the signal lacks; ``mask`` hides them (at their mean) and warns.
        cell_types : str or sequence of str, optional
            Of a model that cell types share, those that are embedded, in this order; all if not given.
        assembly : str or Path, optional
            Of a samplesheet's bigWigs, name or chrom.sizes file; the model's if not given.
        blacklist : str or Path, optional
            BED of bins to take as without data, with a samplesheet.
        downloads : str or Path, optional
            Folder to keep a samplesheet's remote bigWigs in.

        Returns
        -------
        array (bins, embedding_size), float32
            For an array without `regions`. NaN where no track has data. Of chosen cell types, their codes of the bin,
            then those of its context.
        pandas.DataFrame
            Otherwise: a row per bin with ``chrom``, ``start``, ``end`` and `dimensions` (of chosen cell types, theirs);
            the index, named ``region``,
            is the number of the bin's region or, for a table, its label there.

        Raises
        ------
        EpilstmError
            What was given cannot be used; the message says why.

        Notes
        -----
        A bin's embedding follows from the bins around it too. They are read with it, as far as the chromosome (for a
        dataset: its region) goes, so that it does not depend on where the region given ends. Results are held in
        memory; for a whole genome, run ``epilstm embed``.
        """
        wanted = Wanted(self.manifest, missing=_one_of("missing", missing, ("error", "mask")))
        named = [cell_types] if isinstance(cell_types, str) else cell_types
        chosen = choose_codes(self.manifest.config, named, "cell_types")
        return self._run(
            partial(self._encode, chosen=chosen),
            chosen.names or self.dimensions,
            signal,
            regions,
            wanted,
            (assembly, blacklist, downloads),
            lambda values: values,
        )

    def reconstruct(
        self,
        signal: Any,
        regions: Any = None,
        *,
        scale: Scale = "signal",
        hide: Sequence[str] = (),
        missing: Missing = "error",
        assembly: str | Path | None = None,
        blacklist: str | Path | None = None,
        downloads: str | Path | None = None,
    ) -> NDArray[np.float32] | pd.DataFrame:
        """What the model gives back of the signal that it is shown.

        Parameters
        ----------
        signal, regions, missing, assembly, blacklist, downloads
            As in `embed`.
        scale : {'signal', 'standardised'}
            Raw signal, or the values that the network sees.
        hide : sequence of str
            Tracks to hide from the model, by name, cell type or assay: what comes back of them is imputed from the
            others.

        Returns
        -------
        array (bins, tracks), float32
            For an array without `regions`. NaN where no track that is shown has data.
        pandas.DataFrame
            Otherwise: as in `embed`, with a column per track.

        Raises
        ------
        EpilstmError
            What was given cannot be used; the message says why.
        """
        _one_of("scale", scale, ("signal", "standardised"))
        hidden = [hide] if isinstance(hide, str) else list(hide)
        places = select_tracks(self.manifest.track_set, hidden, "hide") if hidden else []
        wanted = Wanted(
            self.manifest,
            frozenset(self.tracks[place] for place in places),
            _one_of("missing", missing, ("error", "mask")),
        )

        def scaled(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return values if scale == "standardised" else to_signal(values, self.manifest.scaler).astype(np.float32)

        return self._run(
            self._reconstruct, self.tracks, signal, regions, wanted, (assembly, blacklist, downloads), scaled
        )

    def impute(
        self,
        samplesheet: str | PathLike[str],
        regions: Any = None,
        *,
        matrix: str | PathLike[str],
        assays: str | Sequence[str] = (),
        cell_type: str | None = None,
        downloads: str | Path | None = None,
    ) -> pd.DataFrame:
        """Impute assays of a cell type, which training need not have seen, from those that it has.

        Parameters
        ----------
        samplesheet : str or Path
            Of the cell type's bigWigs, of the same assembly as the model. Assays are matched by name and its usual
            spellings.
        regions : str or list of str, optional
            ``"chr1:10000-20000"`` (0-based, half-open) or ``"chr1"``, within those of the matrix; all of them if not
            given.
        matrix : str or Path
            The matrix that the model was trained on. It holds the reference cell types.
        assays : str or sequence of str
            To impute; all that the cell type does not have, if not given. One that it has is imputed from the others.
        cell_type : str, optional
            Of a samplesheet with several.
        downloads : str or Path, optional
            Folder to keep remote bigWigs in.

        Returns
        -------
        pandas.DataFrame
            A row per bin with ``chrom``, ``start``, ``end`` and, of each assay, the imputed signal in the units of the
            training tracks' files, ``H3K27ac``, and the standard deviation of its transform (arcsinh, by default),
            ``H3K27ac.sd``.

        Raises
        ------
        EpilstmError
            What was given cannot be used; the message says why.
        """
        import pandas as pd

        from epilstm.model.imputer import require_imputer
        from epilstm.model.unseen_cell_type import UnseenCellType

        named = [regions] if isinstance(regions, str) else list(regions or ())
        wanted = [assays] if isinstance(assays, str) else list(assays)
        imputer = require_imputer(self.imputer, "the model")
        with UnseenCellType(
            Path(samplesheet), Path(matrix), imputer, self.manifest, cell_type, wanted, named, _path(downloads)
        ) as unseen:
            sizes, tables = unseen.matrix.manifest.chromosome_sizes, []
            for piece in unseen.pieces():
                starts = np.arange(piece.bins.first, piece.bins.last) * self.bin_size
                ends = np.minimum(starts + self.bin_size, sizes[piece.bins.chrom])
                table = pd.DataFrame({"chrom": piece.bins.chrom, "start": starts, "end": ends})
                for column, assay in enumerate(unseen.assays):
                    table[assay], table[f"{assay}.sd"] = piece.mean[:, column], piece.deviation[:, column]
                tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model folder, whole or not at all; `epilstm.load` and every step read it.

        A model that stands there is replaced, anything else is not.

        Raises
        ------
        DataError
            Something else stands there, or it cannot be written.
        """
        folder = Path(path)
        if not folder.name:
            raise ParamsError(f"{str(path)!r} cannot be a model folder; name one in it")
        with written_whole(folder, folder=True, kind="model") as staged:
            weights_sha256 = save_weights(staged, self.network, self.imputer)
            if self.origin is not None:
                write_json(staged / ORIGIN, self.origin.model_dump(mode="json"))
            save_model(staged, self.manifest.model_copy(update={"weights_sha256": weights_sha256}))
        record_path(folder).unlink(missing_ok=True)  # of the model that stood there

    def _encode(self, block: NDArray[np.floating], chosen: ChosenCodes) -> NDArray[np.float32]:
        if self._encoding is None:
            from epilstm.model.windows import encode_bins

            return encode_bins(self.network, block, chosen=chosen)
        if "network" in vars(self):  # whoever has it may have changed its weights
            now = {name: tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()}
            self._encoding = self._encoding.with_weights(now)
        return self._encoding(block, chosen)

    def _reconstruct(self, block: NDArray[np.floating]) -> NDArray[np.float32]:
        from epilstm.model.windows import reconstruct_bins

        return reconstruct_bins(self.network, block)

    def _run(
        self,
        run: Run,
        columns: list[str],
        signal: Any,
        regions: Any,
        wanted: Wanted,
        of_samplesheet: tuple[str | Path | None, ...],
        scaled: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    ) -> NDArray[np.float32] | pd.DataFrame:
        assembly, blacklist, downloads = of_samplesheet
        if not isinstance(signal, str | PathLike):
            for name, given in zip(("assembly", "blacklist", "downloads"), of_samplesheet, strict=True):
                if given is not None and not (name == "assembly" and regions is not None):
                    raise ParamsError(f"{name}={str(given)!r} goes with a samplesheet, not with an array")
            return self._run_array(run, columns, signal, regions, wanted, assembly, scaled)
        source = open_source(
            Path(signal), wanted, assembly, None if blacklist is None else Path(blacklist), _path(downloads)
        )
        with source:
            return self._run_source(run, columns, source, regions, scaled)

    def _run_array(
        self,
        run: Run,
        columns: list[str],
        signal: Any,
        regions: Any,
        wanted: Wanted,
        assembly: str | Path | None,
        scaled: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    ) -> NDArray[np.float32] | pd.DataFrame:
        raw, shown = raw_array(signal, wanted)
        if regions is not None:
            of = labelled_regions(regions, load_assembly(str(assembly or self.assembly)))
            first, last = of[0].bins(self.bin_size)
            if len(of) != 1 or last - first != len(raw):
                bins = sum(b - a for a, b in (each.bins(self.bin_size) for each in of))
                raise DataError(
                    f"the array has {len(raw):,} bins, {len(of)} region{'s'[: len(of) > 1]} of {bins:,} bins of "
                    f"{self.bin_size} bp named; give the one region that the array is of, binned as the model's"
                )
        values = self._in_chunks(run, len(columns), 0, len(raw), 0, len(raw), lambda a, b: wanted.rows(raw[a:b], shown))
        values = scaled(values)
        return (
            values
            if regions is None
            else self._table(columns, of, [values], load_assembly(str(assembly or self.assembly)).sizes)
        )

    def _run_source(
        self,
        run: Run,
        columns: list[str],
        source: Source,
        regions: Any,
        scaled: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    ) -> pd.DataFrame:
        named = source.regions() if regions is None else regions
        if named is None:
            raise ParamsError("a samplesheet needs regions=...: a region, a list of chromosomes, or a BED file")
        of = labelled_regions(named, source.assembly)
        source.prepare([each.region for each in of])
        found: dict[int, NDArray[np.float32]] = {}
        for span in self._spans(of, source):
            rows = partial(source.rows, span.chrom)
            values = scaled(self._in_chunks(run, len(columns), span.first, span.last, *span.reach, rows))
            for number in span.numbers:
                first, last = of[number].bins(self.bin_size)
                found[number] = values[first - span.first : last - span.first]
        return self._table(columns, of, [found[number] for number in range(len(of))], source.assembly.sizes)

    def _spans(self, regions: Sequence[LabelledRegion], source: Source) -> list[_Span]:
        """Bin ranges to run at once: regions that need much the same bins, in order along the genome."""
        near = 2 * context_bins(self.manifest.config)
        order = {chrom: rank for rank, chrom in enumerate(source.assembly.sizes)}
        spans: list[_Span] = []
        for number in sorted(range(len(regions)), key=lambda n: (order[regions[n].region.chrom], regions[n].region)):
            region = regions[number].region
            (first, last), reach = regions[number].bins(self.bin_size), source.reach(region)
            before = spans[-1] if spans else None
            if before and (before.chrom, before.reach) == (region.chrom, reach) and first <= before.last + near:
                before.last = max(before.last, last)
                before.numbers.append(number)
            else:
                spans.append(_Span(region.chrom, first, last, reach, [number]))
        return spans

    def _in_chunks(
        self, run: Run, width: int, first: int, last: int, from_bin: int, to_bin: int, rows: Callable[[int, int], Rows]
    ) -> NDArray[np.float32]:
        """Run bins `first` to before `last`, with context from `from_bin` to before `to_bin`; NaN without data."""
        context, frame = context_bins(self.manifest.config), self.manifest.config.frame_bins
        size = max(frame, BLOCK_VALUES // len(self.manifest.tracks) // frame * frame)
        out = np.full((last - first, width), np.nan, np.float32)
        for begin in range(first, last, size):
            end = min(begin + size, last)
            # The context level counts frames from the first bin that it is given.
            start = max(from_bin, (begin - context - from_bin) // frame * frame + from_bin)
            stop = min(to_bin, -(-(end + context - from_bin) // frame) * frame + from_bin)
            block = rows(start, stop)
            kept = slice(begin - start, end - start)
            values, mask = run(block.values)[kept], block.mask[kept]
            out[begin - first : end - first][mask] = values[mask]
        return out

    def _table(
        self, columns: list[str], regions: Sequence[LabelledRegion], values: Iterable[NDArray[np.float32]], sizes: Any
    ) -> pd.DataFrame:
        import pandas as pd

        bins = [each.bins(self.bin_size) for each in regions]
        counts = [last - first for first, last in bins]
        starts = np.concatenate([np.arange(first, last) * self.bin_size for first, last in bins])
        ends = np.concatenate(
            [
                np.minimum(np.arange(first + 1, last + 1) * self.bin_size, sizes[each.region.chrom])
                for each, (first, last) in zip(regions, bins, strict=True)
            ]
        )
        index = pd.Index(np.repeat(np.arange(len(regions)), counts), name="region")
        labels = pd.Index([each.label for each in regions])
        table = pd.DataFrame(np.concatenate(list(values)), columns=columns, index=labels[index].rename("region"))
        table.insert(0, "chrom", np.repeat(np.array([each.region.chrom for each in regions], object), counts))
        table.insert(1, "start", starts)
        table.insert(2, "end", ends)
        return table


def load(path: str | PathLike[str], device: str = "cpu") -> Model:
    """Load a model folder.

    Parameters
    ----------
    path : str or Path
        Written by ``epilstm train``, ``epilstm import-checkpoint`` or `Model.save`.
    device : str
        Where it runs, as torch names it: ``cpu``, ``cuda``, ``cuda:1``, ...

    Raises
    ------
    DataError, ModelError
        No model there, or a damaged one.
    """
    folder = Path(path)
    put_back(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the model folder that 'epilstm train' wrote")
    kind = str(read_json(folder / MANIFEST).get("format", "")) if (folder / MANIFEST).is_file() else ""
    if not kind.startswith("epilstm.model/"):
        holds = (
            f"holds {kind.partition('/')[0]}, not a model" if kind else "is no model folder (it has no manifest.json)"
        )
        more = ", which has no decoder" if kind.startswith("epilstm.encoder/") else ""
        raise ModelError(f"{folder}: {holds}{more}; give the folder that 'epilstm train' wrote")
    manifest = read_model_manifest(folder)
    weights = read_weights(checked_weights(folder, manifest))
    imputer = partial(_imputer_of, folder, manifest) if manifest.imputer is not None else None
    if device == "cpu" and find_spec("onnxruntime") is not None:
        from epilstm.model.onnx_encoding import OnnxEncoding

        encoding = OnnxEncoding(manifest, weights, folder / WEIGHTS)
        model = Model(lambda: network_of(manifest, weights), manifest, read_origin(folder), encoding, imputer)
    else:
        model = Model(_on_device(load_model(folder)[0], device), manifest, read_origin(folder), imputer=imputer)
    for warning in model.origin.warnings if model.origin is not None else ():
        warnings.warn(f"{folder}: {warning}", stacklevel=2)
    return model


def _imputer_of(folder: Path, manifest: ModelManifest) -> Imputer:
    from epilstm.model.imputer import load_imputer

    return load_imputer(folder, manifest)


def _on_device(network: Autoencoder, device: str) -> Autoencoder:
    import torch

    try:
        return network.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise ParamsError(f"device {device!r}: {str(error).splitlines()[0]}") from error


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ParamsError(f"{name}={value!r}: expected {' or '.join(map(repr, choices))}")
    return value


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
