"""The file of the signal's histograms."""

import numpy as np

from epilstm.store.signal_histograms import HISTOGRAMS, write_histograms


def test_the_files_digest_is_the_same_under_every_version_of_python_and_zlib(tmp_path):
    digest = write_histograms(tmp_path, [np.array([[0, 3, 7]]), np.array([[1, 0, 2], [1, 4, 5]])])
    assert digest == "78b448a6d8cf95c209e215bac0381b4fa65c257234678134b27b0b23a79aca63"
    with np.load(tmp_path / HISTOGRAMS) as content:
        assert content["counts"].tolist() == [[0, 0, 3, 7], [1, 1, 0, 2], [1, 1, 4, 5]]
