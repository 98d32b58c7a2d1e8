"""Variables of an object store that a pod finds in a mounted secret, whichever they are."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: Where the pipelines mount the secret of the object store.
FOLDER = Path("/etc/epilstm/s3")

NAME = re.compile(r"AWS_[A-Z0-9_]+")


def set_variables(folder: Path = FOLDER) -> None:
    """Set each ``AWS_*`` key of the secret as variable, for this process and those that it starts.

    One that is set already stays as it is. A folder that does not exist sets none.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if NAME.fullmatch(path.name) and path.is_file():
            os.environ.setdefault(path.name, path.read_text(encoding="utf-8").strip())
