"""What a file system refuses: distinguished from other faults, reported in one line, and asked for space beforehand."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from epilstm.errors import DiskFullError

#: What to do about a system error, by its number.
ADVICE = {
    errno.ENOSPC: "free some space and run it again",
    errno.EDQUOT: "free some space and run it again",
    errno.EROFS: "choose another path",
    errno.EACCES: "check its permissions, or choose another path",
    errno.EPERM: "check its permissions, or choose another path",
    errno.ENOENT: "was it removed meanwhile?",
    errno.EIO: "check the disk",
    errno.ESTALE: "was it unmounted meanwhile?",
}

FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is that of a full disk; libraries wrap it, or only quote it."""
    while error is not None:
        if isinstance(error, DiskFullError):
            return True
        if getattr(error, "errno", None) in FULL or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def system_error_line(error: OSError) -> str:
    """A system error as one line: which file, what is wrong, what to do."""
    where = f"{error.filename}: " if error.filename is not None else ""
    what = error.strerror or str(error) or type(error).__name__
    advice = ADVICE.get(error.errno or 0)
    return f"{where}{what}" + (f"; {advice}" if advice else "")


def require_space(folder: Path, size: int) -> None:
    """Make sure that so many further bytes can be written, for libraries that crash the process where they cannot.

    Parameters
    ----------
    folder : Path
        Has to exist.
    size : int
        Bytes.

    Raises
    ------
    OSError
        The disk or the quota is full.
    """
    if hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=folder) as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
