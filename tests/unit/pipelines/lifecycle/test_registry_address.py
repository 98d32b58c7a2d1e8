"""What a run may know of the registry's address: parameters of a run are shown to everyone."""

from __future__ import annotations

import pytest

from epilstm.errors import RegistryError
from epilstm.pipelines.lifecycle.clone import require_plain


@pytest.mark.parametrize(
    "url", ["https://user:secret@host/models.git", "https://secret@host/models.git", "ssh://git:secret@host/models.git"]
)
def test_an_address_with_a_secret_is_refused_without_showing_it(url: str):
    with pytest.raises(RegistryError, match="leave user and password out") as refused:
        require_plain(url)
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "https://host/models.git", "ssh://git@host/models.git", "git@host:models.git"])
def test_an_address_without_one_is_taken(url: str):
    require_plain(url)
