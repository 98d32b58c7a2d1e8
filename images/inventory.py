"""Runs inside an image: prints what is installed there, as JSON. Standard library only."""

import json
import subprocess
from importlib.metadata import distributions
from typing import Any


def python_packages() -> list[dict[str, object]]:
    """Installed distributions: name, version, license, requirements."""
    packages = []
    for found in distributions():
        metadata: Any = found.metadata
        packages.append(
            {
                "name": metadata["Name"],
                "version": metadata["Version"],
                "license": metadata.get("License-Expression") or metadata.get("License"),
                "requires": found.requires or [],
            }
        )
    return packages


def debian_packages() -> list[dict[str, str]]:
    """Installed Debian packages: name, version, architecture."""
    line = ["dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"]
    rows = subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()
    installed = [row.split("\t") for row in rows if row.endswith("\tinstalled")]
    return [{"name": name, "version": version, "architecture": arch} for name, version, arch, _ in installed]


print(json.dumps({"python": python_packages(), "debian": debian_packages()}))
