"""The champion that a challenger is compared with."""

from __future__ import annotations

from pathlib import Path

from epilstm.console import log
from epilstm.pipelines.lifecycle.clone import require_plain
from epilstm.registry import fetching
from epilstm.registry.publication import ARTIFACT
from epilstm.registry.repository import opened
from epilstm.registry.versions import read_registered


def fetch_champion(url: str, target: Path) -> str:
    """Bring the champion's encoder; an empty folder where there is none.

    Parameters
    ----------
    url : str
        Git repository of the registry; empty for none.
    target : Path
        Encoder folder to write.

    Returns
    -------
    str
        Its version; empty where there is none.

    Raises
    ------
    RegistryError
        The registry cannot be reached, or what it gives is not what was registered.
    """
    require_plain(url)
    if not url:
        log.info("no registry is given, so there is no champion")
        fetching.write_none(target)
        return ""
    with opened(url) as repository:
        champion = read_registered(repository, ARTIFACT).champion
    if champion is None:
        log.info("the registry has no champion yet")
        fetching.write_none(target)
        return ""
    fetching.fetch(url, champion.name, target)
    log.info(f"champion: {champion.tag}", extra={"fields": {"version": champion.name}})
    return champion.name
