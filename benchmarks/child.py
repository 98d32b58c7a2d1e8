"""A process that does one thing for the benchmark and writes its result as JSON.

``python -m benchmarks.child ceilings|machine|prepare|measure RESULT ARGUMENTS``, arguments being a JSON object.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Setting, Skipped


def do(what: str, arguments: dict[str, Any]) -> Any:
    """Do one thing and return what is to be written."""
    folder, threads = Path(arguments["folder"]), arguments["threads"]
    if what == "ceilings":
        from benchmarks.ceilings import measure_ceilings

        return measure_ceilings(folder, threads, arguments["quick"])
    case = Case(**arguments["case"])
    stage = import_module(f"benchmarks.stages.{case.stage}")
    try:
        if what == "prepare":
            return stage.prepare(case, folder)
        return asdict(stage.measure(case, Setting(folder, threads, arguments["repeats"], arguments["device"])))
    except Skipped as why:
        return {"skipped": str(why)}


def main() -> None:
    """Read the command line, do it, write the result."""
    what, result, arguments = sys.argv[1:]
    logging.getLogger("epilstm").setLevel(logging.ERROR)
    Path(result).write_text(json.dumps(do(what, json.loads(arguments))), encoding="utf-8")


if __name__ == "__main__":
    main()
