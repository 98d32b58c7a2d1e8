"""``epilstm params``: every parameter with its default and meaning."""

from __future__ import annotations

from typing import Any

import click
import yaml
from pydantic import BaseModel

from epilstm.params import SECTIONS


def rows_of(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str]]:
    """``(key, meaning [default])`` of every parameter of a section, nested ones with dots."""
    rows = []
    defaults = model()
    written = defaults.model_dump(mode="json")
    for name, field in model.model_fields.items():
        default = getattr(defaults, name)
        if isinstance(default, BaseModel):
            rows += rows_of(type(default), f"{prefix}{name}.")
        else:
            rows.append((prefix + name, f"{field.description} [{_show(written[name])}]"))
    return rows


def _show(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...") or "''"


@click.command(short_help="Show every parameter with its default and meaning.")
@click.argument("section", required=False, type=click.Choice(list(SECTIONS)))
def params(section: str | None) -> None:
    """Print every parameter, or those of one SECTION, with its default and meaning."""
    for name in [section] if section else SECTIONS:
        click.echo(f"{name}: # {(SECTIONS[name].__doc__ or '').splitlines()[0]}")
        rows = rows_of(SECTIONS[name])
        width = max(len(key) for key, _ in rows)
        for key, text in rows:
            click.echo(f"  {key:<{width}}  {text}")
