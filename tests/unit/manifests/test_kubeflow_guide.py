"""The commands and options in docs/kubeflow.md exist."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil

import click
import pytest
import yaml

from epilstm import cli
from epilstm.params import SECTIONS, load_section, read_sections
from support.manifests.rendered_manifests import MANIFESTS, kustomize, one
from support.nonempty import nonempty
from support.paths import PROJECT
from support.strict_schemas import schema_errors

TEXT = (PROJECT / "docs" / "kubeflow.md").read_text()

#: Made by the reader, or by a command before.
OF_THE_READER = ("cluster", "build/", "tracks", "s3.env", "registry.env", "token", "encoder", "more-tracks")


def command_lines() -> list[str]:
    """Lines of the guide's sh blocks, without what is written into files there."""
    lines = []
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        block = re.sub(r"<<END\n.*?^END$", "", block, flags=re.MULTILINE | re.DOTALL)
        lines += [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    return lines


EPILSTM = [line for line in command_lines() if line.startswith("epilstm ")]


def parsed(words: list[str], command: click.Command) -> None:
    """Parse as the command line would, without running anything."""
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    command.make_context(command.name, list(words))


@pytest.mark.parametrize("line", EPILSTM)
def test_an_own_command_takes_what_the_guide_gives_it(line):
    parsed(shlex.split(line, comments=True)[1:], cli.cli)


def test_a_command_that_takes_it_not_would_be_found():
    with pytest.raises(click.NoSuchOption):
        parsed(["pipeline", "submit", "--no-such-option"], cli.cli)


def test_the_builder_of_images_takes_what_the_guide_gives_it():
    lines = [line for line in command_lines() if line.startswith("python -m images.build")]
    assert lines
    command = importlib.import_module("images.build").main
    for line in lines:
        parsed(shlex.split(line, comments=True)[3:], command)


def written(path: str) -> str:
    """A file that the guide has its reader write."""
    [content] = re.findall(rf"^cat > {re.escape(path)} <<END\n(.*?)^END$", TEXT, re.MULTILINE | re.DOTALL)
    return content


def test_the_params_file_that_the_guide_writes_is_valid(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(written("cluster/params.yaml"))
    sections = read_sections(path)
    assert set(sections) == {"ingest", "preprocess", "train", "evaluate"}
    for name in sections:
        load_section(path, name, SECTIONS[name])


def test_the_kustomization_that_the_guide_writes_renders(tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "cluster").mkdir()
    text = written("cluster/kustomization.yaml").replace("$NAMESPACE", "mine")
    for change in ("", "# components"):
        (tmp_path / "cluster" / "kustomization.yaml").write_text(text.replace(change, "components") if change else text)
        done = kustomize(tmp_path / "cluster")
        assert done.returncode == 0, done.stderr
        documents = list(yaml.safe_load_all(done.stdout))
        assert [error for document in documents for error in schema_errors(document)] == []
        claim = one(documents, "PersistentVolumeClaim")
        assert claim["metadata"]["namespace"] == "mine"
        assert claim["spec"]["storageClassName"] == "my-shared-storage"
        assert ("epilstm-trainjob-launcher" in done.stdout) == bool(change)


def test_files_that_the_guide_names_are_there():
    named = set(re.findall(r"(?<![\w/])(?:manifests|pipelines|docs)/[\w./-]*\w", TEXT))
    named |= {f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)\)", TEXT)}
    named |= {f"manifests/pipelines/{word}" for word in re.findall(r"`(components/\w+)`", TEXT)}
    missing = {path for path in named if not path.startswith(OF_THE_READER) and not (PROJECT / path).exists()}
    assert missing == set()


def test_every_command_of_the_pipeline_group_is_explained():
    group = cli.cli.get_command(click.Context(cli.cli), "pipeline")
    for name in nonempty(group.list_commands(click.Context(group))):
        assert re.search(rf"epilstm pipeline {name}\b", TEXT), name


def test_every_overlay_of_the_pipelines_is_in_the_table():
    for overlay in nonempty((PROJECT / "manifests" / "pipelines" / "overlays").iterdir()):
        assert f"| `{overlay.name}` |" in TEXT


MESSAGES = re.findall(r"^\| (`[^|]+) \|", TEXT[TEXT.index("## When something is refused") :], re.MULTILINE)


def test_messages_that_the_guide_explains_are_those_that_the_code_gives():
    sources = [
        path.read_text()
        for folder in ("pipelines", "components", "images")
        for path in (PROJECT / folder).rglob("*.py")
    ]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))
    found = [message for row in MESSAGES for message in re.findall(r"`([^`]+)`", row)]
    own = [message for message in found if " " in message and "forbidden" not in message]
    assert len(own) > 10
    unknown = []
    for message in own:
        # Values stand where the code has braces.
        parts = [part.strip(" .") for part in re.split(r"\.\.\.|/data|10001", message)]
        if not all(part in code for part in parts if part):
            unknown.append(message)
    assert unknown == []
