"""``python -m benchmarks.serving``: the server over real sockets, beside bare onnxruntime in the same run.

Server and load generator share the machine, as they do where a client runs beside the server. Bare onnxruntime is
measured before and after each line and the better way of running it counts: calls side by side on one thread each, or
one after the other on all threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.load import signal
from benchmarks.machine import describe_machine
from benchmarks.synthetic import write_encoder
from epilstm.files.outputs import ENCODER, write_json
from epilstm.model.encoder_folder import SIGNAL
from epilstm.runtime.cores import available_cores

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

NETWORKS: dict[str, dict[str, Any]] = {
    "bottleneck": {"architecture": "bottleneck", "embedding_size": 12, "hidden_size": 64},
    "published": {"architecture": "published", "embedding_size": 24, "hidden_size": 24},
}


@dataclass(frozen=True)
class Load:
    """One line of the table.

    Parameters
    ----------
    name : str
    protocol : {'rest', 'json', 'grpc'}
    shape : tuple of int
        Batch and time of each request.
    connections : int
    """

    name: str
    protocol: str
    shape: tuple[int, int]
    connections: int


LOADS = (
    Load("low load", "rest", (1, 100), 1),
    Load("low load", "grpc", (1, 100), 1),
    Load("low load", "json", (1, 100), 1),
    Load("saturation", "rest", (1, 100), 12),
    Load("saturation", "grpc", (1, 100), 12),
    Load("batch of 16", "rest", (16, 100), 4),
    Load("long sequence", "rest", (1, 2000), 4),
    Load("single bins", "rest", (1, 1), 16),
    Load("overload", "rest", (1, 100), 200),
)


class ServerProcess:
    """``epilstm serve`` in a process of its own."""

    def __init__(self, encoder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "epilstm", "serve", "--model", str(encoder), "--http-port=0", "--grpc-port=0"]
        self.process = subprocess.Popen(
            [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self.process.stderr is not None
        ready = self.process.stderr.readline()
        if '"http_port"' not in ready:
            raise RuntimeError(f"the server did not start: {ready}{self.process.stderr.read()}")
        ports = json.loads(ready)
        self.ports = {"rest": ports["http_port"], "json": ports["http_port"], "grpc": ports["grpc_port"]}

    def status(self, field: str) -> int:
        """A field of the process's status, in bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        return 0

    def cpu(self) -> float:
        """CPU seconds that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate(timeout=60)


def bare_onnxruntime(
    file: Path, shape: tuple[int, int], tracks: int, threads: int, seconds: float
) -> tuple[float, float]:
    """Requests per second of onnxruntime alone, calls of the same shape from memory, and CPU seconds of each."""
    import onnxruntime

    values = signal(*shape, tracks)
    rates = []
    for callers, threads_each in {(threads, 1), (1, threads)}:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads_each
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        session.run(None, {SIGNAL: values})
        counts = [0] * callers
        until = time.perf_counter() + seconds

        def call(number: int, session: Any = session, counts: list[int] = counts, until: float = until) -> None:
            while time.perf_counter() < until:
                session.run(None, {SIGNAL: values})
                counts[number] += 1

        started, cpu = time.perf_counter(), time.process_time()
        workers = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        total = sum(counts)
        rates.append((total / (time.perf_counter() - started), (time.process_time() - cpu) / total))
    return max(rates)


def _child(module: str, arguments: dict[str, Any]) -> Any:
    command = [sys.executable, "-m", module, json.dumps(arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)


def measure(load: Load, server: ServerProcess, file: Path, tracks: int, threads: int, seconds: float) -> dict[str, Any]:
    """One line: the load, between two measurements of bare onnxruntime."""
    bare = [bare_onnxruntime(file, load.shape, tracks, threads, seconds / 4)]
    cpu = server.cpu()
    found = _child(
        "benchmarks.load",
        {
            "protocol": load.protocol,
            "port": server.ports[load.protocol],
            "shape": [*load.shape, tracks],
            "connections": load.connections,
            "seconds": seconds,
        },
    )
    cpu = server.cpu() - cpu
    bare.append(bare_onnxruntime(file, load.shape, tracks, threads, seconds / 4))
    requests = sum(found["codes"].values())
    return {
        **vars(load),
        **found,
        "bare_per_second": max(bare)[0],
        "of_bare": found["per_second"] / max(bare)[0],
        "bare_cpu": min(seconds for _, seconds in bare),
        "server_cpu": cpu / requests,
        "client_cpu": found["cpu"] / requests,
        "memory": server.status("VmRSS"),
    }


def as_markdown(content: dict[str, Any]) -> str:
    """The table."""
    machine = content["machine"]
    lines = [
        f"- {machine['cpu']}, {machine['cores']} cores, shared by server and load generator; {content['tracks']:,} "
        f"tracks, network '{content['network']}'; onnxruntime {machine['versions'].get('onnxruntime')}",
        f"- resident memory at most {content['peak_memory'] / 1e6:,.0f} MB",
        "",
        "| load | protocol | request (batch, bins) | connections | p50, ms | p99, ms | answered/s | bare onnxruntime/s "
        "| of bare | refused | CPU ms per request: server | load generator | bare |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in content["rows"]:
        refused = sum(count for code, count in row["codes"].items() if code not in ("200", "OK"))
        share = refused / max(1, sum(row["codes"].values()))
        lines.append(
            f"| {row['name']} | {row['protocol']} | {row['shape'][0]} x {row['shape'][1]} | {row['connections']} "
            f"| {1000 * row['p50']:.2f} | {1000 * row['p99']:.1f} | {row['per_second']:,.0f} "
            f"| {row['bare_per_second']:,.0f} | {row['of_bare']:.0%} | {share:.0%} "
            f"| {1000 * row['server_cpu']:.2f} | {1000 * row['client_cpu']:.2f} | {1000 * row['bare_cpu']:.2f} |"
        )
    return "\n".join(lines) + "\n"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--tracks", default=1014, show_default=True, help="tracks of the model")
@click.option("--network", type=click.Choice(list(NETWORKS)), default="bottleneck", show_default=True)
@click.option("--threads", default=available_cores(), show_default=True, help="of the server and of bare onnxruntime")
@click.option("--seconds", default=6.0, show_default=True, help="of each load")
@click.option("--only", default="", help="loads whose name or protocol contains this")
@click.option("--option", "options", multiple=True, help="further option of 'epilstm serve', such as --queue=16")
@click.option(
    "--results", type=click.Path(path_type=Path, resolve_path=True), default=RESULTS, help="folder to write to"
)
def main(
    tracks: int, network: str, threads: int, seconds: float, only: str, options: tuple[str, ...], results: Path
) -> None:
    """Measure the server and write the table as Markdown and JSON."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="epilstm-serving-") as temporary:
        encoder = write_encoder(Path(temporary), tracks, NETWORKS[network])
        server = ServerProcess(encoder, f"--threads={threads}", *options)
        try:
            for load in LOADS:
                if only in load.name or only in load.protocol:
                    rows.append(row := measure(load, server, encoder / ENCODER, tracks, threads, seconds))
                    click.echo(f"{load.name}, {load.protocol}: {row['of_bare']:.0%} of bare {row['codes']}", err=True)
            peak = server.status("VmHWM")
        finally:
            server.stop()
    content = {
        "machine": describe_machine(),
        "tracks": tracks,
        "network": network,
        "threads": threads,
        "rows": rows,
        "peak_memory": peak,
    }
    results.mkdir(parents=True, exist_ok=True)
    write_json(results / "serving.json", content)
    (results / "serving.md").write_text(text := as_markdown(content), encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
