"""Running moments of rows: sums and sums of products, added block by block in memory that does not grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Sums and sums of products of columns over all rows added, in float64.

    Parameters
    ----------
    others : int
        Columns of a second matrix with the same rows. Their products with the first matrix's are summed, those among
        themselves are not.
    """

    def __init__(self, columns: int, others: int = 0) -> None:
        self.count = 0
        self.sums, self.other_sums = np.zeros(columns), np.zeros(others)
        self.products, self.cross_products = np.zeros((columns, columns)), np.zeros((columns, others))

    def add(self, rows: NDArray[np.floating], others: NDArray[np.floating] | None = None) -> None:
        """Take in (n, columns) values, and the (n, others) of the second matrix if there is one."""
        exact = rows.astype(np.float64)
        self.count += len(exact)
        self.sums += exact.sum(axis=0)
        self.products += exact.T @ exact
        if others is not None:
            exact_others = others.astype(np.float64)
            self.other_sums += exact_others.sum(axis=0)
            self.cross_products += exact.T @ exact_others

    def include(self, moments: Moments) -> None:
        """Take in the rows behind other moments, of the same columns."""
        self.count += moments.count
        self.sums += moments.sums
        self.products += moments.products
        self.other_sums += moments.other_sums
        self.cross_products += moments.cross_products

    def of_columns(self, columns: NDArray[np.intp]) -> Moments:
        """Moments of some of the columns, without those of the second matrix."""
        found = Moments(len(columns))
        found.count, found.sums = self.count, self.sums[columns]
        found.products = self.products[np.ix_(columns, columns)]
        return found

    def about(self, center: NDArray[np.float64]) -> NDArray[np.float64]:
        """(columns, columns) sums of products of deviations from `center`."""
        cross = np.outer(self.sums, center)
        return self.products - cross - cross.T + self.count * np.outer(center, center)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each column."""
        return self.sums / max(self.count, 1)

    @property
    def total_squares(self) -> NDArray[np.float64]:
        """Sum of squared deviations of each column from its mean."""
        return np.maximum(np.diag(self.about(self.mean)), 0)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(columns, columns), over the number of rows."""
        return self.products / max(self.count, 1) - np.outer(self.mean, self.mean)

    @property
    def cross_covariance(self) -> NDArray[np.float64]:
        """(columns, others), over the number of rows."""
        count = max(self.count, 1)
        return self.cross_products / count - np.outer(self.mean, self.other_sums / count)
