"""Imputation of a cell type that training never saw: ``python -m benchmarks.imputation``.

Each cell type is left out in turn. The imputer of ``epilstm train``, ridge regression and boosted trees learn from the
others, with the same inputs, and impute each of its assays from those that it shows.
"""
