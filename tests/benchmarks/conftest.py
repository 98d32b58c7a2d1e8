"""The benchmarks are not installed; they are imported from the project's root."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
