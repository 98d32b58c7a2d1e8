"""Imputed assays of a cell type that training never saw, as bigWigs."""
