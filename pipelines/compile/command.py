"""``epilstm pipeline compile``: write the IR of the pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from epilstm.errors import ParamsError

PATH = click.Path(path_type=Path)


@click.command("compile", short_help="Write the compiled pipelines.")
@click.option(
    "--pipeline",
    "names",
    multiple=True,
    metavar="NAME",
    help="training, retraining, embedding, rollout or simulation; repeatable.",
)
@click.option(
    "--profile", "profiles", multiple=True, metavar="NAME", help="cpu, gpu, spot or gpu-distributed; repeatable."
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    default="pipelines/compiled",
    show_default=True,
    metavar="FOLDER",
    help="Folder to write.",
)
@click.option(
    "--params",
    type=PATH,
    default="params.yaml",
    show_default=True,
    metavar="FILE",
    help="Params file that the pipelines' defaults come from.",
)
@click.option(
    "--registry", metavar="HOST/PATH", help="Where your images are.  [default: ghcr.io/epilstm, a placeholder]"
)
@click.option("--tag", metavar="TAG", help="Tag of the images.  [default: the package's version]")
@click.option("--digests", type=PATH, metavar="FILE", help='Pin the images: JSON of {"epilstm-train": "sha256:..."}.')
@click.option(
    "--data-root",
    metavar="ROOT",
    help="Default data root: /data, a folder in it, or s3://bucket/prefix.  [default: /data]",
)
@click.option(
    "--data-claim", metavar="NAME", help="Volume claim mounted at /data.  [default: epilstm-data, none with s3://]"
)
@click.option(
    "--s3-secret",
    metavar="NAME",
    help="Secret with AWS_ACCESS_KEY_ID and its like, used if it is there.  [default: epilstm-s3]",
)
@click.option(
    "--registry-secret",
    metavar="NAME",
    help="Secret with GIT_PASSWORD and its like, used if it is there.  [default: epilstm-registry]",
)
@click.option("--accelerator", metavar="RESOURCE", help="Resource name of the accelerator.  [default: nvidia.com/gpu]")
@click.option(
    "--accelerators",
    type=click.IntRange(min=0),
    metavar="N",
    help="Accelerators of a pod that trains; 0 for spot nodes without.  [default: 1; 4 in gpu-distributed]",
)
@click.option(
    "--node-label",
    "node_labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="Label of the nodes with accelerators; repeatable; = for none.  [default: nvidia.com/gpu.present=true]",
)
@click.option(
    "--spot-nodes", metavar="NAME", help="Whose preemptible nodes: gke, eks, aks or karpenter.  [default: gke]"
)
@click.option("--shared-memory", metavar="SIZE", help="Size of /dev/shm on accelerators.  [default: 8Gi]")
@click.option(
    "--scratch", metavar="SIZE", help="Size of /tmp; holds a step's data if the data root is s3://.  [default: 50Gi]"
)
@click.option("--nodes", type=click.IntRange(min=1), metavar="N", help="Nodes of a distributed training.  [default: 2]")
@click.option(
    "--runtime", metavar="NAME", help="ClusterTrainingRuntime of a distributed training.  [default: torch-distributed]"
)
def compile_pipelines(
    names: tuple[str, ...],
    profiles: tuple[str, ...],
    output: Path,
    params: Path,
    registry: str | None,
    tag: str | None,
    digests: Path | None,
    accelerators: int | None,
    node_labels: tuple[str, ...],
    **cluster: str | int | None,
) -> None:
    """Write the pipelines as <pipeline>-<profile>.yaml: all of them, or those chosen.

    The same sources and options give the same bytes. Images are pinned by digest where --digests is given, by tag
    otherwise.
    """
    from epilstm.pipelines.compile.compilation import Settings, choose, write_pipelines
    from epilstm.pipelines.graphs.images import Images, read_digests
    from epilstm.pipelines.graphs.profiles import Cluster

    images = {name: value for name, value in (("registry", registry), ("tag", tag)) if value is not None}
    where: dict[str, Any] = {name: value for name, value in cluster.items() if value is not None}
    if str(where.get("data_root", "")).startswith("s3://"):
        where.setdefault("data_claim", "")
    if node_labels:
        where["node_labels"] = _labels(node_labels)
    settings = Settings(
        images=Images(**images, digests=read_digests(digests) if digests else {}),
        cluster=Cluster(**where),
        params=params,
        accelerators=accelerators,
    )
    for path in write_pipelines(output, choose(names, profiles), settings):
        click.echo(path)


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals or bool(value) > bool(key):
            raise ParamsError(f"--node-label {word!r}: expected KEY=VALUE")
        if key:
            labels[key] = value
    return labels
