"""What to say where a package is missing that an extra of epilstm brings."""

from __future__ import annotations


def missing_package(package: str | None, *extras: str) -> str:
    """One line: which package is missing, and how it is installed from a clone or a wheel of epilstm.

    Parameters
    ----------
    package : str or None
        As it is imported.
    *extras : str
        Extras of epilstm that bring it.
    """
    return f"the package {package} is missing; {installed_by(*extras)}"


def installed_by(*extras: str) -> str:
    """How extras are installed: epilstm is on no package index."""
    names = ",".join(extras)
    return f"install epilstm's extras [{names}]: pip install '.[{names}]' in its clone, or 'WHEEL[{names}]'"
