"""Checks a track hub on disk against UCSC's rules, as its hubCheck does: settings, names, parents, limits, files.

https://genome.ucsc.edu/goldenPath/help/hgTrackHubHelp.html and .../help/trackDb/trackDbHub.html. It knows the settings
of bigWig tracks, composites and multiWigs alone; any other is refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyBigWig

Stanza = dict[str, str]

HUB = {"hub", "shortLabel", "longLabel", "genomesFile", "email"}
ASSEMBLY_HUB = {"twoBitPath", "organism", "description", "scientificName", "defaultPos"}
REQUIRED = {"track", "shortLabel", "longLabel", "type"}
OPTIONAL = {
    "bigDataUrl", "parent", "visibility", "color", "autoScale", "viewLimits", "maxHeightPixels", "priority",
    "subGroups",
}  # fmt: skip
COMPOSITE = {"compositeTrack", "allButtonPair", "subGroup1", "subGroup2", "dimensions", "sortOrder"}
MULTIWIG = {"container", "aggregate", "showSubtrackColorOnUi"}
NUMBER = r"-?\d+(\.\d+)?(e[-+]?\d+)?"


class HubError(AssertionError):
    """A rule is broken."""


def require(rule: bool, text: str) -> None:
    if not rule:
        raise HubError(text)


def stanzas(path: Path) -> list[Stanza]:
    """Blocks of ``setting value`` lines between blank lines."""
    found = []
    for block in path.read_text(encoding="ascii").split("\n\n"):
        stanza: Stanza = {}
        for line in block.strip("\n").split("\n"):
            name, space, value = line.partition(" ")
            require(bool(space and name and value) and value == value.strip(), f"{path}: not a setting: {line!r}")
            require(name not in stanza, f"{path}: {name} is set twice")
            stanza[name] = value
        found.append(stanza)
    return found


def check_hub(folder: Path) -> dict[str, Stanza]:
    """Check everything; what comes back is the stanza of each track with data, by name."""
    (hub,) = stanzas(folder / "hub.txt")
    require(set(hub) == HUB, f"hub.txt has {sorted(hub)}")
    require(not re.search(r"\s", hub["hub"]), "the hub's name has a space")
    require(re.fullmatch(r"\S+@\S+", hub["email"]) is not None, "no email")
    (genome,) = stanzas(folder / hub["genomesFile"])
    require({"genome", "trackDb"} <= set(genome) <= {"genome", "trackDb"} | ASSEMBLY_HUB, f"genomes.txt has {genome}")
    track_db = folder / genome["trackDb"]
    tracks = stanzas(track_db)
    by_name = {stanza["track"]: stanza for stanza in tracks}
    require(len(by_name) == len(tracks), "two tracks have one name")
    for stanza in tracks:
        _check_track(stanza, by_name, track_db.parent)
    return {name: stanza for name, stanza in by_name.items() if "bigDataUrl" in stanza}


def _check_track(stanza: Stanza, by_name: dict[str, Stanza], folder: Path) -> None:
    name = stanza["track"]
    container = "compositeTrack" in stanza or "container" in stanza
    require(next(iter(stanza)) == "track", f"{name}: a stanza begins with its track")
    require(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None, f"{name}: not a name of a track")
    known = REQUIRED | OPTIONAL | (COMPOSITE if "compositeTrack" in stanza else MULTIWIG if container else set())
    require(set(stanza) >= REQUIRED and set(stanza) <= known, f"{name}: {sorted(set(stanza) ^ REQUIRED)}")
    require(len(stanza["shortLabel"]) <= 17 and len(stanza["longLabel"]) <= 76, f"{name}: a label is too long")
    require(re.fullmatch(rf"bigWig( {NUMBER} {NUMBER})?", stanza["type"]) is not None, f"{name}: {stanza['type']}")
    require(stanza.get("visibility", "full") in {"hide", "dense", "full"}, f"{name}: visibility")
    require(stanza.get("autoScale", "off") in {"on", "off", "group"}, f"{name}: autoScale")
    if "viewLimits" in stanza:
        low, high = map(float, stanza["viewLimits"].split(":"))
        require(low < high, f"{name}: viewLimits")
    if "color" in stanza:
        colour = [int(part) for part in stanza["color"].split(",")]
        require(len(colour) == 3 and all(0 <= part <= 255 for part in colour), f"{name}: color")
    if container:
        require("bigDataUrl" not in stanza and "parent" not in stanza, f"{name}: a container has no data")
        return
    path = folder / stanza["bigDataUrl"]
    require(not re.match(r"/|\w+:", stanza["bigDataUrl"]) and path.is_file(), f"{name}: no such file: {path}")
    with pyBigWig.open(str(path)) as file:
        require(file.isBigWig() and file.header()["nBasesCovered"] > 0, f"{name}: no bigWig with data")
    parent, _, state = stanza["parent"].partition(" ")
    require(parent in by_name and state in {"", "on", "off"}, f"{name}: parent {stanza['parent']}")
    _check_subgroups(stanza, by_name[parent])


def _check_subgroups(stanza: Stanza, parent: Stanza) -> None:
    groups = {}
    for key in ("subGroup1", "subGroup2"):
        if key in parent:
            name, _label, *tags = parent[key].split(" ")
            groups[name] = dict(tag.split("=") for tag in tags)
    require(("subGroups" in stanza) == bool(groups), f"{stanza['track']}: subGroups")
    chosen = dict(each.split("=") for each in stanza.get("subGroups", "").split(" ") if each)
    require(set(chosen) == set(groups), f"{stanza['track']}: subGroups {chosen}")
    for name, tag in chosen.items():
        require(tag in groups[name], f"{stanza['track']}: {name} has no {tag}")
    if "dimensions" in parent:
        dimensions = dict(each.split("=") for each in parent["dimensions"].split(" "))
        require(set(dimensions.values()) <= set(groups), f"{parent['track']}: dimensions")
