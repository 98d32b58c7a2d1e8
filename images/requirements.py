"""Print what a set of extras of ``pyproject.toml`` needs, one requirement per line."""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """Requirements of the package and of some of its extras, sorted."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = {*project["dependencies"]}
    for extra in extras:
        wanted |= {*project["optional-dependencies"][extra]}
    return sorted(wanted)


if __name__ == "__main__":
    print(*requirements(Path(sys.argv[1]), [extra for extra in sys.argv[2].split(",") if extra]), sep="\n")
