"""A software bill of materials of an image, in CycloneDX: its Python and its Debian packages."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from epilstm.errors import PipelineError
from images.engines import BuildEngine

INVENTORY = Path(__file__).with_name("inventory.py")
SCHEMA = SchemaVersion.V1_6


def image_sbom(engine: BuildEngine, reference: str, version: str, created: datetime | None) -> str:
    """Bill of materials of an image, as JSON; the same image has the same bill.

    Parameters
    ----------
    engine : BuildEngine
        Has the image.
    reference : str
        The image.
    version : str
        Its version.
    created : datetime or None
        Time of the sources; without it, the bill has no time.

    Raises
    ------
    PipelineError
        The image cannot be looked into, or the bill breaks its schema.
    """
    inventory = json.loads(engine.python(reference, INVENTORY.read_text(encoding="utf-8")))
    name = reference.rpartition("/")[2].partition(":")[0]
    text = bill_of_materials(name, version, inventory, created)
    problem = JsonStrictValidator(SCHEMA).validate_str(text)
    if problem is not None:
        raise PipelineError(f"{reference}: its bill of materials is not valid CycloneDX: {problem}")
    return text


def bill_of_materials(name: str, version: str, inventory: dict[str, Any], created: datetime | None) -> str:
    """Bill of materials of what an inventory lists.

    Parameters
    ----------
    name, version : str
        Of the image.
    inventory : dict
        What ``inventory.py`` prints.
    created : datetime or None
        Time of the bill.
    """
    image = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref=name)
    python = {canonicalize_name(package["name"]): _python_component(package) for package in inventory["python"]}
    debian = [_debian_component(package) for package in inventory["debian"]]
    bom = Bom(
        components=[*python.values(), *debian],
        metadata=BomMetaData(component=image),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([name, version, inventory], sort_keys=True)),
    )
    bom.register_dependency(image, [*python.values(), *debian])
    for package in inventory["python"]:
        needed = _required(package["requires"])
        component = python[canonicalize_name(package["name"])]
        bom.register_dependency(component, [python[other] for other in sorted(needed & python.keys())])
    text = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2)
    content = json.loads(text)
    content["metadata"].pop("timestamp", None)  # the library's is the time of writing
    if created is not None:
        content["metadata"]["timestamp"] = created.isoformat()
    return json.dumps(content, indent=2) + "\n"


def _python_component(package: dict[str, Any]) -> Component:
    name, version = canonicalize_name(package["name"]), package["version"]
    purl = PackageURL("pypi", name=name, version=version)
    text = (package["license"] or "").strip()
    licenses = [LicenseFactory().make_from_string(text)] if text and "\n" not in text else []
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), licenses=licenses)


def _debian_component(package: dict[str, str]) -> Component:
    qualifiers = {"arch": package["architecture"]}
    purl = PackageURL("deb", "debian", package["name"], package["version"], qualifiers=qualifiers)
    return Component(name=package["name"], version=package["version"], purl=purl, bom_ref=str(purl))


def _required(lines: list[str]) -> set[NormalizedName]:
    """Names of what a package always needs, without its extras."""
    names: set[NormalizedName] = set()
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names.add(canonicalize_name(requirement.name))
    return names
