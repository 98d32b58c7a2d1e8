"""A kubeconfig file for a server on the loopback."""

from __future__ import annotations

from pathlib import Path

import yaml


def kubeconfig(folder: Path, url: str, token: str = "letmein") -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path
