"""``python -m benchmarks``: measure every stage and write the table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.case import STAGES, Case, Measurement, Size
from benchmarks.machine import describe_machine
from benchmarks.table import Row, as_json, as_markdown
from epilstm.files.outputs import write_json
from epilstm.runtime.step_table import STEPS
from epilstm.store.arrays import available_cores

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


class Runner:
    """Does everything that is measured in processes of their own.

    Parameters
    ----------
    folder : Path
        For synthetic data.
    threads : int
        What each stage may use.
    repeats : int
        Timed runs of each case.
    quick : bool
        Whether ceilings may be measured badly.
    """

    def __init__(self, folder: Path, threads: int, repeats: int, quick: bool) -> None:
        self.arguments = {"folder": str(folder), "threads": threads, "repeats": repeats, "quick": quick}
        self.result = folder / "result.json"
        paths = [str(ROOT), str(ROOT / "components"), os.environ.get("PYTHONPATH", "")]
        limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
        self.environment = os.environ | limits | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def do(self, what: str, case: Case | None = None) -> Any:
        """Have one thing done by a child process (see `benchmarks.child`) and return its result.

        Raises
        ------
        ChildProcessError
            It failed; the message is the last line of what it said.
        """
        arguments = json.dumps(self.arguments | ({"case": vars(case)} if case else {}))
        command = [sys.executable, "-m", "benchmarks.child", what, str(self.result), arguments]
        done = subprocess.run(command, env=self.environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        if done.returncode:
            sys.stderr.write(done.stderr)
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ChildProcessError(lines[-1])
        return json.loads(self.result.read_text(encoding="utf-8"))

    def row(self, case: Case) -> Row:
        """Prepare and measure a case."""
        try:
            found = self.do("prepare", case) or self.do("measure", case)
        except ChildProcessError as error:
            return Row(case, None, f"failed: {error}", failed=True)
        if "skipped" in found:
            return Row(case, None, f"not measured: {found['skipped']}")
        return Row(case, Measurement(**found))

    def start_up(self) -> dict[str, float]:
        """Seconds until each step has shown its help."""
        times = {}
        for name in STEPS:
            seconds = []
            for _ in range(3):
                started = time.perf_counter()
                command = [sys.executable, "-m", "epilstm", name, "--help"]
                subprocess.run(command, env=self.environment, stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
                seconds.append(time.perf_counter() - started)
            times[name] = median(seconds)
        return times


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("stages", nargs=-1, type=click.Choice(STAGES))
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="auto: also a GPU if there")
@click.option("--scaling", is_flag=True, help="three sizes along bins and along tracks in place of the table")
@click.option("--quick", is_flag=True, help="tiny data: shows that everything runs, the numbers mean nothing")
@click.option("--only", default="", help="regular expression that the name of a case must match")
@click.option("--threads", type=int, default=available_cores(), show_default=True, help="CPU threads of each stage")
@click.option("--repeats", type=int, default=3, show_default=True, help="timed runs of each case")
@click.option(
    "--results", type=click.Path(path_type=Path, resolve_path=True), default=RESULTS, help="folder to write to"
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, resolve_path=True),
    help="folder for synthetic data, kept; else a temporary one",
)
def main(
    stages: tuple[str, ...],
    device: str,
    scaling: bool,
    quick: bool,
    only: str,
    threads: int,
    repeats: int,
    results: Path,
    work: Path | None,
) -> None:
    """Measure STAGES (all of them if none is named) and write the table as Markdown and JSON."""
    size: Size = "scaling" if scaling else "quick" if quick else "full"
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="epilstm-benchmarks-", dir=results) as temporary:
        folder = work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        runner = Runner(folder, threads, repeats, quick)
        ceilings = runner.do("ceilings")
        rows = []
        for each in ("cpu", "cuda") if device == "auto" else (device,):
            runner.arguments["device"] = each
            if each == "cuda" and size == "scaling":
                continue
            for case in _cases(stages or STAGES, size, each, gpu="cuda" in ceilings):
                if not re.search(only, case.name):
                    continue
                started = time.perf_counter()
                rows.append(row := runner.row(case))
                _tell(row, time.perf_counter() - started)
        start_up = runner.start_up() if size == "full" and not stages else {}
        content = as_json(size, describe_machine(), ceilings, rows, start_up) | {"threads": threads}
    name = "scaling" if scaling else "gpu" if device == "cuda" else "table"
    write_json(results / f"{name}.json", content)
    (results / f"{name}.md").write_text(text := as_markdown(content), encoding="utf-8")
    click.echo(text)
    if any(row.failed for row in rows):
        sys.exit(1)


def _cases(stages: tuple[str, ...], size: Size, device: str, gpu: bool) -> list[Case]:
    cases = [case for stage in stages for case in import_module(f"benchmarks.stages.{stage}").cases(size, device)]
    # Without a GPU one row is enough to say so.
    return cases if device == "cpu" or gpu else cases[:1]


def _tell(row: Row, seconds: float) -> None:
    speed = f"{row.measurement.bins_per_second:,.0f} bins/s" if row.measurement else row.problem
    case = row.case
    click.echo(f"{case.stage}: {case.name}, {case.bins:,} x {case.tracks:,}: {speed} ({seconds:.0f} s)", err=True)


if __name__ == "__main__":
    main()
