"""The models being served: loaded and warm before they are, and replaced while requests are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from epilstm.console import log
from epilstm.errors import EpilstmError, ModelError
from epilstm.files.outputs import ENCODER, MANIFEST, sha256_file
from epilstm.model.encoder_folder import STATEFUL_ENCODER, checked_file, read_encoder_manifest
from epilstm.serving.server.encoder import ENCODER_NAME, STATEFUL_NAME, Encoder, spec_of
from epilstm.serving.server.providers import Provider, Wanted, choose_provider, open_session
from epilstm.serving.server.refusal import Refusal, Status
from epilstm.serving.server.tensors import shown
from epilstm.tracks.identity import same_tracks


@dataclass(frozen=True)
class Generation:
    """The encoders of one version, all loaded and warm.

    Parameters
    ----------
    version : str
        First characters of the encoder's fingerprint.
    encoders : mapping of str to Encoder
        By the name they are served under.
    provider : str
        Where they run.
    loaded : float
        Seconds since the epoch.
    """

    version: str
    encoders: Mapping[str, Encoder]
    provider: Provider
    loaded: float

    @property
    def tracks(self) -> tuple[str, ...]:
        """Track names in input order."""
        return next(iter(self.encoders.values())).spec.tracks

    def contract(self) -> dict[str, Any]:
        """What clients rely on besides the tracks' fields: names, shapes of tensors, how signal is binned."""
        return {
            name: (
                [(spec.name, spec.shape) for spec in (*encoder.spec.inputs, *encoder.spec.outputs)],
                encoder.spec.tracks,
                encoder.spec.properties.get("bin_size"),
                encoder.spec.properties.get("uncovered"),
            )
            for name, encoder in self.encoders.items()
        }


def load_generation(path: Path, wanted: Wanted, allow_cpu_fallback: bool) -> Generation:
    """Load an encoder folder, or a single encoder file, and call each encoder a few times.

    Raises
    ------
    DataError, ModelError
        It is missing, damaged, not an encoder, or cannot run where it is to.
    """
    files, version, properties = _files(path)
    provider = choose_provider(next(iter(files.values())), wanted, allow_cpu_fallback)
    encoders: dict[str, Encoder] = {}
    for file in files.values():
        session = open_session(file, provider)
        spec = spec_of(session, version, properties, str(file))
        encoders[spec.name] = Encoder(spec, session, provider)
    if len(encoders) == 2:
        encoders[ENCODER_NAME] = replace(encoders[ENCODER_NAME], streaming=encoders[STATEFUL_NAME])
    for encoder in encoders.values():
        encoder.warm_up()
    return Generation(version, encoders, provider, time.time())


def _files(path: Path) -> tuple[dict[str, Path], str, dict[str, str]]:
    """Encoder files by name, the version, and what the folder's manifest says of them."""
    if path.is_dir():
        manifest = read_encoder_manifest(path)
        names = [name for name in (ENCODER, STATEFUL_ENCODER) if name in manifest.files]
        if not names:
            raise ModelError(f"{path}: holds no {ENCODER}; run export again")
        files = {name: checked_file(path, manifest, name) for name in names}
        properties = {
            "architecture": manifest.config.architecture,
            "assembly": manifest.assembly,
            "bin_size": str(manifest.bin_size),
            "embedding_size": str(manifest.config.embedding_size),
            "model_fingerprint": manifest.model_fingerprint,
            "scaler_sha256": manifest.scaler_sha256,
            "encoder_fingerprint": (identity := sha256_file(path / MANIFEST)),
        }
        return files, identity[:12], properties
    if not path.is_file():
        raise ModelError(f"{path}: no such file or folder; give an encoder folder or file that 'epilstm export' wrote")
    return {path.name: path}, sha256_file(path)[:12], {}


def identity_of(path: Path) -> object:
    """What changes when another model is put in a path's place: through symbolic links, without reading it whole.

    Returns
    -------
    object
        None where there is nothing, as between two renames.
    """
    try:
        file = path / MANIFEST if path.is_dir() else path
        state = file.stat()
        return str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns
    except OSError:
        return None


class Repository:
    """The generation being served, and what takes its place.

    Parameters
    ----------
    path : Path
        Encoder folder or file; may be a symbolic link that is turned to another.
    wanted, allow_cpu_fallback
        As for `epilstm.serving.server.providers.choose_provider`.
    on_loaded : callable
        Called with every generation before it is served.
    on_refused : callable
        Called when a new model is refused.
    """

    def __init__(
        self,
        path: Path,
        wanted: Wanted = "auto",
        allow_cpu_fallback: bool = False,
        on_loaded: Callable[[Generation], None] = lambda generation: None,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.wanted, self.allow_cpu_fallback = path, wanted, allow_cpu_fallback
        self.on_loaded, self.on_refused = on_loaded, on_refused
        self._seen: object = None
        self.current: Generation | None = None

    def load(self) -> Generation:
        """Load the first generation.

        Raises
        ------
        DataError, ModelError
            It cannot be served.
        """
        self._seen = identity_of(self.path)
        generation = load_generation(self.path, self.wanted, self.allow_cpu_fallback)
        self.on_loaded(generation)
        self.current = generation
        return generation

    async def watch(self, seconds: float) -> None:
        """Look for another model every so often; never returns."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> None:
        """Look for another model in the path's place, and serve it if it is good."""
        found = await asyncio.to_thread(identity_of, self.path)
        if found is not None and found != self._seen:
            await self._take(found)

    async def _take(self, found: object) -> None:
        loop = asyncio.get_running_loop()
        served = self.current
        try:
            new = await loop.run_in_executor(None, load_generation, self.path, self.wanted, self.allow_cpu_fallback)
            if identity_of(self.path) != found:
                return  # replaced again meanwhile: the next look takes what is there then
            if served is not None and new.version == served.version:
                self._seen = found
                return
            if served is not None:
                _require_contract(served, new)
        except (EpilstmError, OSError) as error:
            if identity_of(self.path) == found:
                self._seen = found
                log.error(f"the new model is refused, version {served.version if served else '-'} stays: {error}")
                self.on_refused()
            return
        self._seen = found
        self.on_loaded(new)
        self.current = new
        log.info(f"version {new.version} is served", extra={"fields": {"before": served.version if served else None}})

    def encoder(self, name: str, version: str = "") -> Encoder:
        """The encoder that a request names.

        Raises
        ------
        Refusal
            There is none, or not of that version.
        """
        current = self.current
        if current is None:
            raise Refusal(Status.UNAVAILABLE, "the model is being loaded", 1)
        encoder = current.encoders.get(name)
        if encoder is None:
            raise Refusal(Status.NOT_FOUND, f"no model {shown(name)}; there is {', '.join(current.encoders)}")
        if version and version != current.version:
            raise Refusal(
                Status.NOT_FOUND, f"no version {shown(version)} of model {name}; version {current.version} is served"
            )
        return encoder


def _require_contract(served: Generation, new: Generation) -> None:
    before, after = served.contract(), new.contract()
    changed = [
        name
        for name in before
        if before[name] != after.get(name)
        or not same_tracks(served.encoders[name].spec.track_set, new.encoders[name].spec.track_set)
    ]
    if changed:
        raise ModelError(
            f"version {new.version} takes or gives something else than version {served.version} "
            f"({', '.join(changed)}: tracks, bin size or shapes); start a server of its own for it"
        )
