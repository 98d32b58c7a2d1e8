"""One chromosome, split by region: from training to the report, whole and by parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from epilstm.genome.assembly import Region
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from epilstm.store.evaluation_results import read_results
from support.nonempty import nonempty
from support.task.fixtures import PARAMS
from support.task.launcher import bytes_of

SPLIT = {"by": "region", "validation": 0.15, "test": 0.15}
ONE_CHROMOSOME = {
    **PARAMS,
    "simulate": {**PARAMS["simulate"], "chromosomes": {"chr1": 2_400_010}},
    "preprocess": {"workers": 1, "frame_bins": 200, "split": SPLIT},
    "train": {**PARAMS["train"], "context_size": 1, "context_epochs": 1},
    "evaluate": {**PARAMS["evaluate"], "folds": {"by": "region", "count": 2}},
}

SIMULATED = {"samplesheet": "samplesheet.csv", "regions": "regions.bed", "tasks": "tasks.yaml", "labels": "labels"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every step's outputs, without parts."""
    folder = tmp_path_factory.mktemp("one-chromosome")
    (folder / "params.yaml").write_text(yaml.safe_dump(ONE_CHROMOSOME))
    data = {port: folder / "data/simulated" / name for port, name in SIMULATED.items()}
    places = {name: folder / name for name in ("signal", "matrix", "model", "encoder", "embeddings", "evaluation")}
    places |= {"simulated": folder / "data/simulated", "history": folder / "history.csv", **data}
    places["report"] = folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("simulate", "ingest", "preprocess", "train", "export", "embed", "evaluate", "report"):
            outputs = {port.name for port in STEPS[name].outputs}
            inputs = {port.name for port in STEPS[name].inputs if places.get(port.name, folder / "none").exists()}
            given = {port: path for port, path in places.items() if port in outputs | inputs}
            run_step(STEPS[name], folder / "params.yaml", given, frozenset())
    return folder


def places(folder: Path) -> dict[str, list[Region]]:
    split = json.loads((folder / "matrix" / "manifest.json").read_text())["split"]
    return {use: [Region.parse(place) for place in split[use]] for use in ("train", "validation", "test")}


def test_the_model_learns_on_some_intervals_and_is_scored_on_others(folder):
    split = places(folder)
    assert {region.chrom for regions in split.values() for region in regions} == {"chr1"}
    lengths = {use: sum(map(len, regions)) for use, regions in split.items()}
    assert sum(lengths.values()) == 2_400_010
    assert 0.1 < lengths["test"] / 2_400_010 < 0.2
    results = read_results(folder / "evaluation")
    assert [Region.parse(place) for place in results.reconstruction.chromosomes] == split["test"]
    assert 0 < results.reconstruction.bins <= lengths["test"] // 25 + 1
    assert results.folds.by == "region"
    assert all(cell.groups >= 2 for task in nonempty(results.tasks.values()) for cell in task.cell_types.values())


def test_the_report_names_the_intervals_that_training_never_saw(folder):
    page = (folder / "report.html").read_text()
    assert f"On data that training never saw ({', '.join(map(str, places(folder)['test']))}" in page
    assert "Test regions" in page
    assert "training, validation and test" in page
    assert "chromosomes that training never saw" not in page


@pytest.mark.parametrize("part", ["1/1", "chr1"])
def test_parts_make_what_the_steps_make_without_them(folder, tmp_path, part):
    inputs = {"preprocess": {"signal": folder / "signal"}}
    inputs["embed"] = {"matrix": folder / "matrix", "encoder": folder / "encoder"}
    for name, output in (("preprocess", "matrix"), ("embed", "embeddings")):
        given = {**inputs[name], "parts": tmp_path / name}
        run_step(STEPS[name], folder / "params.yaml", given, frozenset(), part)
        assert list((tmp_path / name).iterdir())
        run_step(STEPS[name], folder / "params.yaml", {**given, output: tmp_path / output}, frozenset())
        assert bytes_of(tmp_path / output) == bytes_of(folder / output)
        assert not list((tmp_path / name).iterdir())
