"""Names of assays: which spellings are the same assay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from epilstm.errors import SamplesheetError

#: Spellings by what they mean, without case and punctuation. DNase-seq and ATAC-seq are different assays: both measure
#: open chromatin, with different biases.
SYNONYMS = {
    "dnase": ("dnasei", "dnasehypersensitivity", "dnasehs", "dhs"),
    "atac": ("omniatac",),
    "polr2a": ("polii", "pol2", "rnapolii", "rnapol2", "polr2"),
    "h2az": ("h2afz", "h2az1"),
}

_MEANING = {spelling: meaning for meaning, spellings in SYNONYMS.items() for spelling in spellings}


def assay_key(name: str) -> str:
    """What all spellings of an assay share: ``h2az`` for ``H2A.Z`` and ``H2AZ``, ``dnase`` for ``DNase-seq``."""
    plain = re.sub(r"[^0-9a-z]", "", name.lower())
    plain = plain.removeprefix("chipseq").removesuffix("chipseq").removesuffix("seq") or plain
    return _MEANING.get(plain, plain)


def matching_assay(name: str, vocabulary: Sequence[str], where: str) -> str:
    """The assay of a vocabulary that a name stands for: the same name, or another spelling of it.

    Parameters
    ----------
    name : str
    vocabulary : sequence of str
    where : str
        What named it, for messages.

    Raises
    ------
    SamplesheetError
        There is none, or more than one.
    """
    if name in vocabulary:
        return name
    found = [assay for assay in vocabulary if assay_key(assay) == assay_key(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SamplesheetError(f"{where}: assay {name!r} may be {' or '.join(found)}; write one of these")
    close = get_close_matches(name.lower(), [assay.lower() for assay in vocabulary], n=1, cutoff=0.8)
    hint = next((f"; did you mean {assay}?" for assay in vocabulary if [assay.lower()] == close), "")
    raise SamplesheetError(f"{where}: the model has no assay {name!r}; it has {', '.join(vocabulary)}{hint}")
