"""Where alerts go by the example of Alertmanager's configuration, and who receives them there."""

from __future__ import annotations

import subprocess

import click
import pytest
import yaml

from epilstm import cli
from epilstm.pipelines.submit.alert_webhook import LABEL, VALUE
from support.monitoring.alert_rules import MANIFESTS, alerts

EXAMPLE = yaml.safe_load((MANIFESTS / "alertmanager-secret.example.yaml").read_text())["stringData"][
    "alertmanager.yaml"
]
DOCUMENTS = list(yaml.safe_load_all((MANIFESTS / "overlays" / "retraining" / "retraining.yaml").read_text()))


def document(kind: str) -> dict:
    return next(each for each in DOCUMENTS if each["kind"] == kind)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alertmanager")
    content = yaml.safe_load(EXAMPLE)
    authorization = content["receivers"][1]["webhook_configs"][0]["http_config"]["authorization"]
    token = folder / "token"
    token.write_text("opensesame")
    authorization["credentials_file"] = str(token)
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(content))
    return folder / "alertmanager.yml"


def test_amtool_takes_the_example(programs, configuration):
    completed = subprocess.run([programs["amtool"], "check-config", configuration], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout + completed.stderr


@pytest.mark.parametrize("name", sorted(alerts()))
def test_people_receive_every_alert_and_retraining_those_that_ask_for_it(programs, configuration, name):
    labels = {"alertname": name, **alerts()[name]["labels"]}
    words = [programs["amtool"], "config", "routes", "test", f"--config.file={configuration}"]
    completed = subprocess.run(
        [*words, *(f"{key}={value}" for key, value in labels.items())], capture_output=True, text=True
    )
    asks = labels.get(LABEL) == VALUE
    assert completed.stdout.strip() == ("retraining,people" if asks else "people")


def test_alertmanager_sends_where_the_receiver_listens():
    [receiver] = [each for each in yaml.safe_load(EXAMPLE)["receivers"] if each["name"] == "retraining"]
    service, port = document("Service")["metadata"]["name"], document("Service")["spec"]["ports"][0]["port"]
    assert receiver["webhook_configs"][0]["url"] == f"http://{service}:{port}/alerts"


def test_the_receiver_takes_the_arguments_that_it_is_given():
    [container] = document("Deployment")["spec"]["template"]["spec"]["containers"]
    group, name, *words = container["args"]
    command = cli.cli.get_command(click.Context(cli.cli), group).get_command(click.Context(cli.cli), name)
    given = command.make_context(name, list(words)).params
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for option in ("webhook_token_file", "journal"):
        assert str(given[option].parent) in mounts
    assert given["port"] == container["ports"][0]["containerPort"]
    assert given["service_account"] == "epilstm-pipeline"
