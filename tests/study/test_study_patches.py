"""Variants that patch the code, with real git and DVC."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_study import STAGE, environment, make_project, runs, study

from epilstm.errors import PipelineError
from epilstm.registry.repository import Repository
from epilstm.study.definition import Studies, read_studies
from epilstm.study.experiments import is_same, kept
from epilstm.study.patches import patched_tree, read_patch
from epilstm.study.plan import Choice, Experiment, plan

PROJECT = Path(__file__).resolve().parents[2]

#: A stage whose scores follow from a package of the project, too, after one that does not.
PATCHED_STAGE = STAGE.replace("precision =", "precision = tones.FACTOR *").replace("import json", "import tones, json")
PREPARE = 'import os; print("prepared", file=open(os.environ["RUNS"], "a")); open("prepared", "w").write("x")'
STAGES = {
    "prepare": {"cmd": "python prepare.py", "deps": ["prepare.py"], "outs": ["prepared"]},
    "evaluate": {
        "cmd": "python stage.py",
        "params": ["train"],
        "deps": ["stage.py", "prepared", "components/tones"],
        "outs": ["evaluation"],
    },
}
TONES = "components/tones/__init__.py"

SLOW = 'import os, time\n\nprint("slow", file=open(os.environ["RUNS"], "a"), flush=True)\ntime.sleep(300)\n'

LOUDER = "studies/louder.patch"
AGAIN = "studies/louder-again.patch"

VARIANTS: dict[str, Any] = {
    "plain": {},
    "louder": {"patch": LOUDER},
    "twice": {"patch": [LOUDER, AGAIN]},
    "stale": {"patch": "studies/stale.patch"},
    "gone": {"patch": "studies/gone.patch"},
    "unseen": {"patch": "studies/unseen.patch"},
    "slow": {"patch": "studies/slow.patch"},
}


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def write_patch(folder: Path, name: str, before: dict[str, str], after: dict[str, str]) -> None:
    """What git writes of a change of files; the work tree is as it was then."""
    trees = []
    for contents in (before, after):
        for path, content in contents.items():
            (folder / path).write_text(content)
        git(folder, "add", "--", "components", "dvc.yaml", "scores.json")
        trees.append(git(folder, "write-tree").strip())
    (folder / name).write_text(git(folder, "diff", *trees))
    git(folder, "reset", "-q", "--hard")


def make_patched_project(folder: Path) -> Path:
    make_project(folder)
    (folder / "components" / "tones").mkdir(parents=True)
    (folder / "studies").mkdir()
    (folder / TONES).write_text("FACTOR = 1.0\n")
    (folder / "stage.py").write_text(PATCHED_STAGE)
    (folder / "prepare.py").write_text(PREPARE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (folder / ".gitignore").write_text("__pycache__\n/prepared\n/evaluation\n")
    (folder / "studies.yaml").write_text(
        yaml.safe_dump({"studies": {"code": {"about": "", "variants": VARIANTS}}}, sort_keys=False)
    )
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Tones")
    louder = {TONES: "from tones.loud import FACTOR\n", "components/tones/loud.py": "FACTOR = 1.2\n"}
    write_patch(folder, LOUDER, {}, louder)
    write_patch(folder, AGAIN, louder, {"components/tones/loud.py": "FACTOR = 1.4\n"})
    write_patch(folder, "studies/stale.patch", {TONES: "FACTOR = 2.0\n"}, {TONES: "FACTOR = 3.0\n"})
    write_patch(folder, "studies/unseen.patch", {}, {"scores.json": "{}"})
    write_patch(folder, "studies/slow.patch", {}, {TONES: SLOW})
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Patches")
    return folder


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which some variants with patches have run."""
    folder = tmp_path_factory.mktemp("patches") / "project"
    folder.mkdir()
    make_patched_project(folder)
    done = study(folder, "run", "code", "--only", "plain", "--only", "louder", "--only", "twice")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["code-plain-1: done", "code-louder-1: done", "code-twice-1: done"]
    return folder


@pytest.fixture
def project(patched: Path) -> Iterator[Path]:
    """The same, put back afterwards as git has it."""
    yield patched
    git(patched, "reset", "-q", "--hard")
    git(patched, "clean", "-qfd")


def planned(folder: Path, variant: str, **definition: Any) -> Experiment:
    studies = Studies.model_validate({"studies": {"code": {"about": "", "variants": {variant: definition}}}})
    [experiment] = plan(studies, Choice("code"), folder)
    return experiment


def same(folder: Path, variant: str, **definition: Any) -> bool:
    repository = Repository(folder)
    experiment = planned(folder, variant, **definition)
    return is_same(repository, experiment, kept(repository)[experiment.name])


def refusal(folder: Path, variant: str) -> str:
    [patch] = [read_patch(folder, VARIANTS[variant]["patch"])]
    with pytest.raises(PipelineError) as told:
        patched_tree(Repository(folder), [patch], "study code, variant v")
    assert "\n" not in str(told.value)
    return str(told.value)


pytestmark = pytest.mark.integration


def test_the_patched_code_is_what_runs_though_the_project_s_own_is_installed(project: Path) -> None:
    shown = study(project, "show", "code", "--only", "plain", "--only", "louder", "--only", "twice")
    differences = {line.split()[0]: line.split()[-1] for line in shown.stdout.splitlines()[2:]}
    assert differences == {"louder": "+0.100", "twice": "+0.200"}


def test_stages_that_a_patch_does_not_concern_come_from_the_cache(project: Path) -> None:
    assert runs(project)[:4] == ["prepared", "1 1", "1 1", "1 1"]


def test_it_is_an_experiment_of_the_commit_that_is_checked_out_and_holds_the_patched_code(project: Path) -> None:
    there = kept(Repository(project))["code-louder-1"]
    assert there.baseline == git(project, "rev-parse", "HEAD").strip()
    assert git(project, "show", f"{there.commit}:components/tones/loud.py") == "FACTOR = 1.2\n"
    line = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    told = subprocess.run(line, cwd=project, capture_output=True, text=True, check=True).stdout
    [baseline] = [each for each in json.loads(told) if each["rev"] == there.baseline]
    assert {each["name"] for each in baseline["experiments"]} >= {"code-plain-1", "code-louder-1"}


def test_the_work_tree_is_as_it_was_and_no_copy_is_left(project: Path) -> None:
    assert git(project, "status", "--short", "--untracked-files=all") == ""
    assert list((project / ".dvc" / "tmp").glob("studies/*")) == []
    assert git(project, "for-each-ref", "refs/exps/exec") == ""


def test_what_is_changed_in_the_work_tree_runs_too(project: Path) -> None:
    (project / "stage.py").write_text(PATCHED_STAGE.replace("0.5 +", "0.4 +"))
    (project / "components" / "tones" / "staged.py").write_text("\n")
    git(project, "add", "components")
    done = study(project, "run", "code", "--only", "louder", "--seeds", "2")
    assert done.stdout == "code-louder-2: done\n", done.stderr
    commit = kept(Repository(project))["code-louder-2"].commit
    assert "0.4 +" in git(project, "show", f"{commit}:stage.py")
    assert git(project, "show", f"{commit}:components/tones/staged.py") == "\n"
    assert git(project, "status", "--short").split() == ["A", "components/tones/staged.py", "M", "stage.py"]


def test_an_experiment_is_the_same_only_with_the_same_patches(project: Path) -> None:
    assert same(project, "louder", patch=LOUDER)
    assert same(project, "twice", patch=[LOUDER, AGAIN])
    assert not same(project, "louder")
    assert not same(project, "plain", patch=LOUDER)
    assert not same(project, "twice", patch=LOUDER)
    (project / LOUDER).write_text((project / LOUDER).read_text().replace("1.2", "1.3"))
    assert not same(project, "louder", patch=LOUDER)


def test_results_are_shown_of_a_patch_that_is_gone_or_no_longer_applies(project: Path) -> None:
    (project / TONES).write_text("FACTOR = 5.0\n")
    assert "0.710 [0.510, 0.810]" in study(project, "show", "code", "--only", "louder").stdout
    (project / LOUDER).unlink()
    assert "0.710 [0.510, 0.810]" in study(project, "show", "code", "--only", "louder").stdout


def test_a_patch_that_does_not_apply_is_told_before_anything_runs(project: Path) -> None:
    before = runs(project)
    done = study(project, "run", "code", "--only", "plain", "--only", "stale", "--seeds", "3")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: study code, variant stale: studies/stale.patch does not apply to the present code: patch failed: "
        f"{TONES}:1; mend the patch or take the variant out"
    )
    assert runs(project) == before


def test_a_patch_that_is_not_there_is_told(project: Path) -> None:
    assert refusal(project, "gone") == (
        "study code, variant v: studies/gone.patch: no such patch; mend the patch or take the variant out"
    )


def test_a_patch_of_a_file_that_dvc_does_not_look_at_is_refused(project: Path) -> None:
    assert "studies/unseen.patch: scores.json is changed, which no stage of dvc.yaml depends on" in refusal(
        project, "unseen"
    )


def test_a_patch_may_make_a_stage_depend_on_what_it_changes(project: Path) -> None:
    pipeline = (project / "dvc.yaml").read_text().replace("- stage.py", "- stage.py\n    - scores.json")
    write_patch(project, "studies/seen.patch", {}, {"scores.json": "{}", "dvc.yaml": pipeline})
    assert patched_tree(Repository(project), [read_patch(project, "studies/seen.patch")], "here")


def test_the_planned_commands_make_the_same_experiment(project: Path) -> None:
    script = study(project, "plan", "code", "--only", "twice", "--seeds", "4").stdout
    variables = {**environment(project), **{f"GIT_{role}_NAME": "Ada" for role in ("AUTHOR", "COMMITTER")}}
    variables |= {f"GIT_{role}_EMAIL": "ada@example.org" for role in ("AUTHOR", "COMMITTER")}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(["sh", "-e"], input=script, cwd=project, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert study(project, "run", "code", "--only", "twice", "--seeds", "4").stdout == "code-twice-4: there\n"
    assert not (project / ".dvc" / "tmp" / "studies" / "code-twice-4").exists()
    shown = study(project, "show", "code", "--only", "twice", "--seeds", "4")
    assert "0.840 [0.640, 0.940]" in shown.stdout


def test_the_planned_commands_end_where_a_patch_does_not_apply(project: Path) -> None:
    script = study(project, "plan", "code", "--only", "stale").stdout
    done = subprocess.run(["sh"], input=script, cwd=project, capture_output=True, text=True)
    shutil.rmtree(project / ".dvc" / "tmp" / "studies" / "code-stale-1")
    assert done.returncode != 0
    assert "code-stale-1" not in kept(Repository(project))


def test_after_a_kill_no_half_experiment_is_there_and_the_next_run_begins_it_again(project: Path) -> None:
    line = [sys.executable, "-m", "epilstm", "study", "run", "code", "--only", "slow"]
    with subprocess.Popen(
        line, cwd=project, env=environment(project), start_new_session=True, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while "slow" not in runs(project) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    copy = project / ".dvc" / "tmp" / "studies" / "code-slow-1"
    assert copy.exists()
    assert "code-slow-1" not in kept(Repository(project))
    assert git(project, "status", "--short") == ""
    (project / "studies" / "slow.patch").write_text((project / LOUDER).read_text())
    done = study(project, "run", "code", "--only", "slow")
    assert done.stdout == "code-slow-1: done\n", done.stderr
    assert not copy.exists()


# The project's own patches


def test_each_patch_of_the_project_s_studies_applies_to_the_present_code(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "components", tmp_path / "components", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    if (PROJECT / "studies").is_dir():
        shutil.copytree(PROJECT / "studies", tmp_path / "studies")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Start")
    for name, each in read_studies(PROJECT / "studies.yaml").studies.items():
        for variant, definition in each.variants.items():
            patches = [read_patch(tmp_path, path) for path in [*each.patch, *definition.patch]]
            patched_tree(Repository(tmp_path), patches, f"study {name}, variant {variant}")


def test_each_patch_of_the_project_is_one_of_a_study() -> None:
    found = read_studies(PROJECT / "studies.yaml").studies.values()
    named = {path for each in found for part in (each, *each.variants.values()) for path in part.patch}
    assert {f"studies/{path.name}" for path in (PROJECT / "studies").glob("*.patch")} <= named
