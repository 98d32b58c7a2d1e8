"""What each chromosome is used for: training, or held out of it."""

from __future__ import annotations

from collections.abc import Sequence

from epilstm.errors import GenomeError
from epilstm.genome.name_matching import named, those_there
from epilstm.store.manifests import MatrixManifest, SignalManifest, Split

#: What to do with fewer chromosomes than uses.
BY_REGION = "with one or two chromosomes, split by region (preprocess.split: {by: region, validation: 0.1, test: 0.2})"


def split_chromosomes(
    manifest: SignalManifest | MatrixManifest,
    validation: Sequence[str],
    test: Sequence[str],
    where: str = "preprocess.split",
) -> Split:
    """Say what each chromosome with regions is used for; those that are not held out train.

    Parameters
    ----------
    validation, test : sequence of str
        Chromosomes that are held out.
    where : str
        Name of the param that says so.

    Raises
    ------
    GenomeError
        A held-out chromosome has no regions or no data, or nothing is left to train on.
    """
    with_data = [chrom for chrom in manifest.chromosomes if manifest.bins_with_data[chrom]]
    known = set(with_data)
    by_region = f"; {BY_REGION}" if len(with_data) < 3 else ""
    for key, chromosomes in (("validation", validation), ("test", test)):
        for chrom in chromosomes:
            if chrom not in known:
                why = "has no data in any track" if chrom in manifest.chromosomes else "is not in the data"
                raise GenomeError(
                    f"{where}.{key}: chromosome {chrom!r} {why}; those with data are "
                    f"{those_there(chrom, with_data)}" + by_region
                )
    held_out = {*validation, *test}
    train = [chrom for chrom in with_data if chrom not in held_out]
    if not train:
        raise GenomeError(
            f"{where}: no chromosome is left to train on; those with data are {named(with_data)}, and all "
            f"are held out{by_region}"
        )
    return Split(train=train, validation=list(validation), test=list(test))
