"""``python -m benchmarks.segmentation`` on planted states."""

from __future__ import annotations

import json

from click.testing import CliRunner

from benchmarks.segmentation.__main__ import main


def options(planted, *further: str) -> list[str]:
    known = {"--matrix": planted.matrix, "--embeddings": planted.embeddings, "--annotation": planted.annotation}
    return [*(str(part) for pair in known.items() for part in pair), "--states=3", "--min-bins=1", *further]


def with_expression(planted, tmp_path) -> list[str]:
    lines = ["gene_id\tA\tother"]
    for chrom in ("chr1", "chr2"):
        lines += [f"{chrom}{number}\t{5 * (number % 2)}\t0" for number in range(40)]
    table = tmp_path / "rpkm.txt"
    table.write_text("\n".join(lines) + "\n")
    return options(planted, f"--expression={table}")


def test_all_methods_are_measured_on_the_chromosomes_that_are_not_for_training(planted, tmp_path):
    file = tmp_path / "all.json"
    result = CliRunner().invoke(main, options(planted, "--threshold=1.5", f"--json={file}"))
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text())
    found = {each["method"]: each for each in content["measurements"]}
    assert list(found) == [
        "k-means, raw tracks", "Bernoulli HMM, binarised tracks", "`kmeans`", "`hmm`", "`multiscale`",
    ]  # fmt: skip
    assert content["bins"].keys() == {"train", "validation"}
    for each in found.values():
        # Starts are those of all genes; every planted promoter is one.
        assert each["precisions"]["validation"]["active_tss"] > 0.7
        assert each["precisions"]["validation"]["expressed"] is None
        assert each["bins"] == sum(content["bins"].values()) - 20
    assert "| `multiscale` | " in result.output


def test_expression_says_which_genes_are_active(planted, tmp_path):
    file = tmp_path / "one.json"
    chosen = with_expression(planted, tmp_path)
    result = CliRunner().invoke(main, [*chosen, "--only=`kmeans`", "--seeds=2", f"--json={file}"])
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text())
    assert content["cell_types"] == ["A"]
    assert [each["seed"] for each in content["measurements"]] == [1, 2]
    # States know starts, and half of the genes are not expressed.
    assert 0.3 < content["measurements"][0]["precisions"]["validation"]["active_tss"] < 0.7


def test_what_cannot_be_used_is_one_clear_line(planted, tmp_path):
    def failure(*arguments: str) -> str:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code, result.output
        return result.output.strip().splitlines()[-1]

    assert "--cell-type" in failure(*options(planted, "--cell-type=A"))
    assert "no column for cell type 'C'" in failure(*with_expression(planted, tmp_path), "--cell-type=C")
    assert "--only nonsense" in failure(*options(planted, "--only=nonsense"))
