"""Shared parts of the unit tests."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from botocore.loaders import JSONFileLoader


@pytest.fixture(scope="session", autouse=True)
def sdk_data_is_parsed_once() -> Iterator[None]:
    """Keep the SDK's parsed data files, which take half of the time of creating a client.

    A session of the SDK keeps it too, but each cold start makes a session, and most tests have one.
    """
    load_file = JSONFileLoader.load_file
    loaded = functools.cache(lambda path: load_file(JSONFileLoader(), path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, file_path: loaded(file_path))
        yield
