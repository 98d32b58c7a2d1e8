"""Build the container images, print their sizes, and write a bill of materials for each (``make images``).

``python -m images.build --help`` lists the options. Images are called ``<registry>/epilstm-<name>:<version>``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from epilstm import __version__
from epilstm.errors import EpilstmError, PipelineError
from epilstm.files.outputs import write_json
from epilstm.pipelines.graphs.images import DEFAULT_REGISTRY, Images
from epilstm.runtime.records import work_tree
from images.engines import NAMES as ENGINES
from images.engines import BuildEngine, find_engine

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = "https://github.com/epilstm/epilstm"

TORCH_CPU = "https://download.pytorch.org/whl/cpu"
PYPI = "https://pypi.org/simple"

#: What the Containerfile copies.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "components", "pipelines", "images")

#: A simple index inside the build context; git ignores what lies in it.
LOCAL_INDEX = PROJECT / "images" / "wheels"
LOCAL_INDEX_URL = "file:///wheels"


@dataclass(frozen=True)
class Recipe:
    """What makes one image out of the Containerfile.

    Parameters
    ----------
    extras : str
        Extras of ``pyproject.toml``, comma-separated.
    packages : str
        Debian packages, separated by spaces.
    target : str
        Stage of the Containerfile.
    """

    extras: str = ""
    packages: str = ""
    target: str = "runtime"

    @property
    def torch_index(self) -> str:
        """Where torch for this image is: the build with CUDA is on PyPI."""
        return PYPI if "gpu" in self.extras.split(",") else TORCH_CPU


RECIPES: dict[str, Recipe] = {
    "base": Recipe(),
    "train": Recipe("train,cpu"),
    "train-gpu": Recipe("train,gpu"),
    "serve": Recipe("serve,cpu", target="serve"),
    "serve-gpu": Recipe("serve,gpu", target="serve"),
    "pipeline": Recipe("pipeline", packages="git"),
}

#: Built unless others are named.
CPU_IMAGES = tuple(name for name in RECIPES if not name.endswith("-gpu"))


@dataclass(frozen=True)
class Built:
    """An image that was built."""

    name: str
    reference: str
    size: int
    seconds: float


@dataclass(frozen=True)
class Sources:
    """Where the images come from.

    Parameters
    ----------
    base_image : str
        Debian with Python and pip.
    index : str
        Package index.
    torch_index : str or None
        Index of torch; None takes that of the recipe, or a CPU wheel at hand (`stage_torch_wheel`).
    """

    base_image: str = "python:3.11-slim-bookworm"
    index: str = PYPI
    torch_index: str | None = None


def build_images(names: Iterable[str], engine: BuildEngine, images: Images, sources: Sources) -> list[Built]:
    """Build images, each after the other.

    Raises
    ------
    PipelineError
        A build failed.
    """
    revision = source_revision()
    if revision is None:
        click.echo(f"warning: {PROJECT} is no git work tree: records made in these images name no revision", err=True)
    created = commit_time()
    labels = {"org.opencontainers.image.created": created.isoformat()} if created else {}
    built = []
    for name in names:
        recipe = RECIPES[name]
        torch_index = sources.torch_index or recipe.torch_index
        if torch_index == TORCH_CPU and "train" in recipe.extras and stage_torch_wheel():
            torch_index = LOCAL_INDEX_URL
        arguments = {
            "BASE_IMAGE": sources.base_image,
            "EXTRAS": recipe.extras,
            "PACKAGES": recipe.packages,
            "PIP_INDEX_URL": sources.index,
            "TORCH_INDEX": torch_index,
            "IMAGE": f"epilstm-{name}",
            "VERSION": __version__,
            "REVISION": revision or "unknown",
            "SOURCE": SOURCE,
        }
        reference = tagged(images, name)
        started = time.monotonic()
        engine.build(reference, PROJECT / "images" / "Containerfile", PROJECT, recipe.target, arguments, labels)
        built.append(Built(name, reference, engine.size(reference), time.monotonic() - started))
    return built


def tagged(images: Images, name: str) -> str:
    """What an image is called."""
    return f"{images.registry}/epilstm-{name}:{images.tag}"


def stage_torch_wheel() -> bool:
    """Put the pinned torch's CPU wheel into the build context, if pip on this machine is given a folder that has it.

    The folders are those of ``PIP_FIND_LINKS``.
    """
    pinned = re.search(r"^torch==(\S+)$", (PROJECT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    index = LOCAL_INDEX / "torch"
    for folder in os.environ.get("PIP_FIND_LINKS", "").split():
        for wheel in sorted(Path(folder).glob(f"torch-{pinned[1]}+cpu-*.whl")):
            index.mkdir(exist_ok=True)
            staged = index / wheel.name
            if not staged.exists():
                shutil.copyfile(wheel, staged)
            (index / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>\n', encoding="utf-8")
            return True
    return False


def source_revision() -> str | None:
    """Commit of what the images are made of, with ``-dirty`` where a file of it differs; None outside a repository."""
    return work_tree(PROJECT, SOURCES).described


def commit_time() -> datetime | None:
    """When the sources were committed; None if they differ from any commit."""
    revision = source_revision()
    if revision is None or revision.endswith("-dirty"):
        return None
    line = ["git", "log", "--max-count=1", "--format=%cI", revision]
    return datetime.fromisoformat(subprocess.check_output(line, cwd=PROJECT, text=True).strip())


def check_unpublished(names: Iterable[str], engine: BuildEngine, images: Images) -> None:
    """Refuse to move a tag.

    Raises
    ------
    PipelineError
        The registry has an image of that tag already, or cannot be asked.
    """
    for name in names:
        reference = tagged(images, name)
        if engine.digest(reference) is not None:
            raise PipelineError(f"{reference}: exists in the registry, and tags do not move; raise the version")


def size_table(built: Sequence[Built]) -> str:
    """Images and their sizes, as text."""
    rows = [("image", "size", "seconds")]
    rows += [(image.reference, f"{image.size / 1e6:,.0f} MB", f"{image.seconds:.0f}") for image in built]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name:{width}}  {size:>9}  {seconds:>7}" for name, size, seconds in rows)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(RECIPES)), metavar="[IMAGE]...")
@click.option("--engine", type=click.Choice(ENGINES), help="Build with this; otherwise the first that answers.")
@click.option("--registry", default=DEFAULT_REGISTRY, show_default=True, help="Host and path before the name.")
@click.option("--tag", default=__version__, show_default=True, help="Tag; never latest.")
@click.option("--base-image", default=Sources.base_image, show_default=True, help="Debian with Python and pip.")
@click.option("--index", default=PYPI, show_default=True, help="Package index.")
@click.option("--torch-index", help=f"Index of torch: {TORCH_CPU}, for GPU images {PYPI}, unless another is given.")
@click.option("--sbom", type=click.Path(path_type=Path), default=Path("build/sbom"), show_default=True, metavar="DIR")
@click.option("--push", is_flag=True, help="Push to the registry; refused if it has the tag already.")
@click.option("--digests", type=click.Path(path_type=Path), default=Path("build/digests.json"), show_default=True,
              metavar="FILE", help="Where --push writes what `epilstm pipeline compile` pins.")  # fmt: skip
def main(
    names: tuple[str, ...],
    engine: str | None,
    registry: str,
    tag: str,
    base_image: str,
    index: str,
    torch_index: str | None,
    sbom: Path,
    push: bool,
    digests: Path,
) -> None:
    """Build images: base, train, serve and pipeline, or those named (train-gpu and serve-gpu too)."""
    from images.sbom import image_sbom

    try:
        builder = find_engine(engine)
        images = Images(registry, tag)
        chosen = names or CPU_IMAGES
        if push:
            check_unpublished(chosen, builder, images)
        built = build_images(chosen, builder, images, Sources(base_image, index, torch_index))
        sbom.mkdir(parents=True, exist_ok=True)
        for image in built:
            text = image_sbom(builder, image.reference, __version__, commit_time())
            (sbom / f"epilstm-{image.name}.cdx.json").write_text(text, encoding="utf-8")
        click.echo(size_table(built))
        click.echo(f"bills of materials (CycloneDX): {sbom}")
        if push:
            pushed = {f"epilstm-{image.name}": builder.push(image.reference) for image in built}
            write_json(digests, {name: digest for name, digest in pushed.items() if name != "epilstm-base"})
            click.echo(f"digests: {digests}")
    except EpilstmError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
