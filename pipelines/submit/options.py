"""Options of the commands that send requests to a server, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epilstm.errors import ParamsError
from epilstm.runtime.command_options import verbosity_options
from epilstm.runtime.network import parse_headers

if TYPE_CHECKING:
    from epilstm.pipelines.compile.packages import Package
    from epilstm.pipelines.submit.connection import Connection
    from epilstm.pipelines.submit.server import Server

Command = Callable[..., Any]
PATH = click.Path(path_type=Path)
#: Bytes of names that Kubeflow Pipelines accepts at most.
LONGEST_PIPELINE, LONGEST_VERSION, LONGEST_EXPERIMENT, LONGEST_RUN, LONGEST_SCHEDULE = 128, 127, 128, 300, 300


def options_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that adds several options."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def checked_name(what: str, name: str, longest: int) -> str:
    """A name as the server accepts it: of at most `longest` bytes in UTF-8; `what` is named in the error.

    Raises
    ------
    ParamsError
        It is empty, too long, or not printable.
    """
    if not name.strip() or not name.isprintable():
        raise ParamsError(f"{what} {name!r}: expected printable characters")
    if len(name.encode()) > longest:
        raise ParamsError(f"{what} {name[:40]!r}...: {len(name.encode())} bytes long; servers take {longest} at most")
    return name


def name_of(what: str, longest: int) -> Callable[..., str | None]:
    """Callback of an option or argument that names something on the server."""

    def check(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
        return name if name is None else checked_name(what, name, longest)

    return check


def connection_options(command: Command) -> Command:
    """Add the options that choose the server and authenticate."""
    return verbosity_options(_connection_options(command))


_connection_options = options_of(
    click.option("--host", envvar="KFP_HOST", show_envvar=True, metavar="URL", help="Pipelines API."),
    click.option(
        "--namespace", "-n", envvar="KFP_NAMESPACE", show_envvar=True, metavar="NAME", help="Yours, if many share."
    ),
    click.option(
        "--token-file",
        type=PATH,
        envvar=["KFP_TOKEN_FILE", "KF_PIPELINES_SA_TOKEN_PATH"],
        show_envvar=True,
        metavar="FILE",
        help="File with a bearer token, read again when needed; without it the variable KFP_TOKEN is.",
    ),
    click.option(
        "--cookies-file",
        type=PATH,
        envvar="KFP_COOKIES_FILE",
        show_envvar=True,
        metavar="FILE",
        help="Cookies of a signed-in session (cookies.txt, or one line name=value).",
    ),
    click.option(
        "--ssl-ca-cert",
        type=PATH,
        envvar="KFP_SSL_CA_CERT",
        show_envvar=True,
        metavar="FILE",
        help="Certificate of the authority that signed the server's.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="'Name: value'",
        help="Header to send, for a gateway that routes by it (Host) or wants a key; repeatable.",
    ),
    click.option("--ui-host", envvar="KFP_UI_HOST", show_envvar=True, metavar="URL", help="For links; else the host."),
    click.option(
        "--timeout",
        type=click.FloatRange(0.1, 3600),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="Longest wait for an answer.",
    ),
    click.option("--dry-run", is_flag=True, help="Print what would be sent, as JSON, and send nothing."),
)

#: Which compiled pipeline.
package_options = options_of(
    click.option("--pipeline", default="training", show_default=True, metavar="NAME", help="Compiled pipeline."),
    click.option("--profile", default="cpu", show_default=True, metavar="NAME", help="Its profile."),
    click.option("--package", type=PATH, metavar="FILE", help="A compiled pipeline anywhere, instead of those two."),
)

#: Which version of it, for commands that can run the local file.
version_option = click.option(
    "--version", "version_name", metavar="NAME", help="Run this registered version, not the local compiled file."
)

#: Parameters of a run.
parameter_options = options_of(
    click.option(
        "--params",
        "params_file",
        type=PATH,
        metavar="FILE",
        help="Params file; without it params.yaml of the working directory, if there is one.",
    ),
    click.option(
        "-P",
        "--param",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="A parameter (data_root=s3://bucket/prefix) or a key of a section (train.epochs=3); repeatable.",
    ),
)

#: What a run is given.
run_options = options_of(
    parameter_options,
    click.option(
        "--experiment",
        default="epilstm",
        show_default=True,
        metavar="NAME",
        callback=name_of("--experiment", LONGEST_EXPERIMENT),
        help="Made if new.",
    ),
    click.option("--service-account", metavar="NAME", help="Kubernetes service account of the pods."),
    click.option("--pipeline-root", metavar="URI", help="Where kfp keeps artifacts; else the server's default."),
)


def connect(options: Mapping[str, Any]) -> Connection:
    """The connection that `connection_options` describe; sets the log up.

    Raises
    ------
    ParamsError
        There is no server, or the credentials cannot be read.
    """
    from epilstm import console

    console.set_up("pipeline", int(options["verbose"]) - int(options["quiet"]))
    if not options["host"]:
        raise ParamsError(
            "no server: give --host or set KFP_HOST (inside a cluster usually http://ml-pipeline.kubeflow.svc:8888)"
        )
    from epilstm.pipelines.submit.connection import Connection
    from epilstm.pipelines.submit.credentials import credentials_given

    return Connection(
        host=str(options["host"]).rstrip("/"),
        namespace=options["namespace"] or None,
        credentials=credentials_given(options["token_file"], options["cookies_file"]),
        ssl_ca_cert=options["ssl_ca_cert"],
        headers=parse_headers(options["headers"]),
        ui_host=options["ui_host"],
        timeout=options["timeout"],
    ).checked()


def server_of(connection: Connection) -> Server:
    """The server, which is asked whether it is one."""
    from epilstm.pipelines.submit.server import Server

    return Server(connection)


def package_of(options: Mapping[str, Any]) -> Package:
    """The compiled pipeline that `package_options` name."""
    from epilstm.pipelines.compile.packages import read_package, read_package_file

    if options["package"] is None:
        return read_package(options["pipeline"], options["profile"])
    package = read_package_file(options["package"])
    checked_name(f"{options['package']}: pipeline", package.name, LONGEST_PIPELINE)
    return package


def parameters_given(spec: Mapping[str, Any], options: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Parameters of a run from the params file and ``-P``, checked against the pipeline's; `digest` is its hash."""
    from epilstm.pipelines.compile.packages import parameters_of
    from epilstm.pipelines.submit.parameters import run_parameters

    file = options["params_file"]
    if file is None and Path("params.yaml").is_file():
        file = Path("params.yaml")
    return run_parameters(parameters_of(spec), file, options["assignments"], digest)


def pinned(
    server: Server, package: Package, version_name: str | None, options: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, Any]]:
    """Reference to a registered version, and parameters checked against it."""
    from epilstm.pipelines.submit.versions import digest_of, pinned_version, spec_of

    version = pinned_version(server, package, version_name)
    content = spec_of(server, version) or {}
    digest = digest_of(version, content, package)
    parameters = parameters_given(content.get("pipeline_spec", content), options, digest)
    reference = {"pipeline_id": str(version.pipeline_id), "pipeline_version_id": str(version.pipeline_version_id)}
    return reference, parameters


def body_of_run(
    server: Server, package: Package, version_name: str | None, options: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Body of the request that creates a run: of a registered version if one is named, else of the package."""
    from epilstm.pipelines.submit import runs

    source: dict[str, Any] = {"pipeline_spec": package.as_sent}
    if version_name:
        reference, parameters = pinned(server, package, version_name, options)
        source = {"pipeline_version_reference": reference}
    else:
        parameters = parameters_given(package.spec, options, package.digest)
    experiment = runs.experiment_id(server, options["experiment"])
    return runs.run_body(name, experiment, parameters, source, options["service_account"], options["pipeline_root"])
