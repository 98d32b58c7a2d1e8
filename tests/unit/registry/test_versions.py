"""What tags say is registered."""

from __future__ import annotations

import pytest

from epilstm.errors import RegistryError
from epilstm.registry.repository import TagRecord
from epilstm.registry.versions import Registered, from_tags, next_stage_tag, version_tag


def registered(*events: str) -> Registered:
    """From ``v1.0.0`` (registered) and ``champion v1.0.0`` (given a stage), in that order."""
    tags = []
    for number, event in enumerate(events, 1):
        stage, _, version = event.rpartition(" ")
        name = f"encoder#{stage}#{number}" if stage else f"encoder@{version}"
        tags.append(TagRecord(name, f"commit of {version}", 100 + number, "", "Ada"))
    return from_tags("encoder", tags)


def names(versions: list) -> list[str]:
    return [version.name for version in versions]


def test_tag_names_are_those_of_gto():
    from gto.tag import parse_name

    assert parse_name(version_tag("encoder", "v1.2.0"))["version"] == "v1.2.0"
    parsed = parse_name(next_stage_tag(registered("v1.0.0", "champion v1.0.0"), "champion"))
    assert (parsed["name"], parsed["stage"], parsed["counter"]) == ("encoder", "champion", 3)


def test_versions_are_ordered_by_number_not_by_text_or_time():
    assert names(registered("v1.10.0", "v1.9.0", "v2.0.0").versions) == ["v1.9.0", "v1.10.0", "v2.0.0"]


def test_the_first_version_is_1_0_0():
    assert registered().next_version("minor") == "v1.0.0"


@pytest.mark.parametrize(("change", "expected"), [("major", "v2.0.0"), ("minor", "v1.5.0"), ("patch", "v1.4.8")])
def test_the_next_version_counts_up_what_changed(change, expected):
    assert registered("v1.3.9", "v1.4.7").next_version(change) == expected


def test_the_newest_tag_of_a_stage_says_who_holds_it():
    found = registered("v1.0.0", "champion v1.0.0", "v1.1.0", "champion v1.1.0", "archived v1.0.0")
    assert found.champion is not None
    assert found.champion.name == "v1.1.0"
    assert [version.stage for version in found.versions] == ["archived", "champion"]


def test_the_line_of_champions_loses_the_one_that_was_rolled_back():
    line = registered("v1.0.0", "v1.1.0", "v1.2.0", "champion v1.0.0", "champion v1.1.0", "champion v1.2.0")
    assert names(line.champions()) == ["v1.0.0", "v1.1.0", "v1.2.0"]
    back = ("v1.0.0", "v1.1.0", "v1.2.0", "champion v1.0.0", "champion v1.1.0", "champion v1.2.0", "champion v1.1.0")
    assert names(registered(*back).champions()) == ["v1.0.0", "v1.1.0"]
    assert names(registered(*back, "champion v1.0.0").champions()) == ["v1.0.0"]


def test_only_a_champion_that_was_left_for_the_one_before_was_rolled_back():
    found = registered("v1.0.0", "v1.1.0", "v1.2.0", "champion v1.0.0", "champion v1.1.0", "champion v1.0.0")
    assert [version.name for version in found.versions if found.was_rolled_back(version)] == ["v1.1.0"]


def test_each_stage_counts_its_tags_by_itself():
    found = registered("v1.0.0", "challenger v1.0.0", "champion v1.0.0")
    assert next_stage_tag(found, "challenger") == "encoder#challenger#3"
    assert next_stage_tag(found, "archived") == "encoder#archived#1"


def test_giving_a_stage_twice_is_giving_it_once():
    assert names(registered("v1.0.0", "champion v1.0.0", "champion v1.0.0").champions()) == ["v1.0.0"]


@pytest.mark.parametrize("wanted", ["v1.1.0", "1.1.0", "encoder@v1.1.0", "champion", "latest"])
def test_a_version_is_found_by_name_stage_or_as_the_latest(wanted):
    assert registered("v1.0.0", "v1.1.0", "champion v1.1.0").version(wanted).name == "v1.1.0"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("v9.0.0", "encoder: no version v9.0.0; registered are v1.0.0"),
        ("champion", "encoder: no version is champion; registered are v1.0.0"),
    ],
)
def test_a_version_that_is_not_there_is_reported_with_those_that_are(wanted, message):
    with pytest.raises(RegistryError, match=message):
        registered("v1.0.0").version(wanted)


def test_tags_of_others_and_prereleases_are_left_alone():
    tags = [
        TagRecord("encoder@v1.0.0", "a", 1, "", ""),
        TagRecord("encoder@v1.1.0-rc.1", "b", 2, "", ""),
        TagRecord("encoder2@v3.0.0", "c", 3, "", ""),
        TagRecord("encoder@nonsense", "d", 4, "", ""),
        TagRecord("encoder#champion#7", "x", 5, "", ""),
    ]
    found = from_tags("encoder", tags)
    assert names(found.versions) == ["v1.0.0"]
    assert (found.champion, found.counters) == (None, {"champion": 7})
