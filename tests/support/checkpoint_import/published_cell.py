"""The published cell in plain numpy, straight from the published files' tensors; and small files of that form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softsign(x):
    return x / (1 + np.abs(x))


def cell(state, x, h, c):
    """One step; gates in the published order: input, forget, output, candidate."""
    preactivation = (
        state["lstm.params.0.i2h.weight"] @ x + state["lstm.params.0.i2h.bias"]
        + state["lstm.params.0.h2h.weight"] @ h + state["lstm.params.0.h2h.bias"]
    )  # fmt: skip
    i, f, o, g = np.split(preactivation, 4)
    c = sigmoid(f) * c + sigmoid(i) * softsign(g)
    return sigmoid(o) * softsign(c), c


def published_pass(encoder, decoder, x):
    """Embedding (time, hidden) and reconstruction (time, track) of x (time, track), from a zero state."""
    encoder = {name: np.asarray(value, np.float64) for name, value in encoder.items()}
    decoder = {name: np.asarray(value, np.float64) for name, value in decoder.items()}
    h = c = np.zeros(len(encoder["lstm.params.0.h2h.bias"]) // 4)
    hidden, cells = [], []
    for row in x.astype(np.float64):
        h, c = cell(encoder, row, h, c)
        hidden.append(h)
        cells.append(c)
    output = []
    for embedding, encoder_cell in zip(hidden, cells, strict=True):
        h, _ = cell(decoder, embedding, h, encoder_cell)
        output.append(decoder["out.weight"] @ h + decoder["out.bias"])
    return np.array(hidden), np.array(output)


def write_checkpoint(folder: Path, tracks: int = 5, hidden: int = 24, step: float = 0.0) -> Path:
    """Files as the published code writes them; each weight `step` away, up or down, from its first value."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)

    def drawn(*shape):
        start = rng.uniform(-(hidden**-0.5), hidden**-0.5, shape)
        return torch.from_numpy(start + step * rng.choice([-1, 1], shape)).float()

    def lstm(inputs):
        return {
            "lstm.params.0.i2h.weight": drawn(4 * hidden, inputs), "lstm.params.0.i2h.bias": drawn(4 * hidden),
            "lstm.params.0.h2h.weight": drawn(4 * hidden, hidden), "lstm.params.0.h2h.bias": drawn(4 * hidden),
            "lstm.params.0.ln_i2h.alpha": drawn(1, 4 * hidden),
            "lstm.params.0.ln_cell.fc_beta.weight": drawn(hidden, 8),
        }  # fmt: skip

    torch.save(lstm(tracks), folder / "encoder.pth")
    torch.save({**lstm(hidden), "out.weight": drawn(tracks, hidden), "out.bias": drawn(tracks)}, folder / "decoder.pth")
    config = {
        "input_size_encoder": tracks, "hidden_size_encoder": hidden, "input_size_decoder": hidden,
        "hidden_size_decoder": hidden, "output_size_decoder": tracks, "base_pair_resolution": 25, "cut_seq_len": 100,
        "max_norm": 5e-14, "learning_rate": 0.01,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def load(path: Path):
    return {name: value.numpy() for name, value in torch.load(path, weights_only=True, map_location="cpu").items()}
