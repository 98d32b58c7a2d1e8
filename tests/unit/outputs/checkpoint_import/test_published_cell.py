"""The imported model and its encoder compute the published cell."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from epilstm import load as load_model
from epilstm.outputs.checkpoint_import.importing import PublishedFiles, run
from support.checkpoint_import.published_cell import load, published_pass, write_checkpoint

#: Bins of random signal: a frame of the published code.
BINS = 100


@pytest.fixture(scope="module", params=["small files of the published form", "the published files"])
def imported(request, tmp_path_factory):
    """Folder of the files, and the folder that they were imported into."""
    folder = tmp_path_factory.mktemp("imported")
    if request.param == "the published files":
        files = request.getfixturevalue("published_model")
    else:
        files = write_checkpoint(folder / "files")
    given = PublishedFiles(files / "encoder.pth", files / "decoder.pth", files / "config.yaml")
    run(given, folder / "model", folder / "encoder", "hg19")
    return files, folder


@pytest.fixture(scope="module")
def expected(imported):
    """Random raw signal, and what an independent computation makes of it."""
    encoder, decoder = load(imported[0] / "encoder.pth"), load(imported[0] / "decoder.pth")
    tracks = encoder["lstm.params.0.i2h.weight"].shape[1]
    signal = np.random.default_rng(0).exponential(1.0, (BINS, tracks)).astype(np.float32)
    return signal, *published_pass(encoder, decoder, np.arcsinh(signal))


@pytest.fixture(scope="module")
def model(imported):
    with pytest.warns(UserWarning, match="do not differ from their initial distribution"):
        return load_model(imported[1] / "model")


def test_the_networks_embedding_is_the_published_cells(model, expected):
    signal, embedding, _ = expected
    with torch.inference_mode():
        found = model.network.encode(torch.from_numpy(np.arcsinh(signal))[:, None])[0][:, 0].numpy()
    np.testing.assert_allclose(found, embedding, rtol=0, atol=1e-5)


def test_the_onnx_encoders_embedding_of_raw_signal_is_the_published_cells(imported, expected):
    signal, embedding, _ = expected
    session = onnxruntime.InferenceSession(imported[1] / "encoder" / "encoder.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["embedding"], {"signal": signal[None]})
    np.testing.assert_allclose(found[0], embedding, rtol=0, atol=1e-5)


def test_the_networks_reconstruction_is_the_published_decoders(model, expected):
    signal, _, reconstruction = expected
    with torch.inference_mode():
        found = model.network.reconstruct(torch.from_numpy(np.arcsinh(signal))[:, None])[:, 0].numpy()
    np.testing.assert_allclose(found, reconstruction, rtol=0, atol=1e-5)


def test_embed_and_reconstruct_take_raw_signal(model, expected):
    signal, embedding, reconstruction = expected
    # Signal is rounded to float16 on the way, as in a matrix.
    np.testing.assert_allclose(model.embed(signal), embedding, rtol=0, atol=3e-3)
    found = model.reconstruct(signal, scale="standardised")
    np.testing.assert_allclose(found, reconstruction, rtol=0, atol=3e-3)
    np.testing.assert_allclose(model.reconstruct(signal), np.sinh(found), rtol=1e-5, atol=1e-6)
