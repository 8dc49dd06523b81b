from __future__ import annotations

import pytest

from tests.golden import compact, shared
from tests.golden.cases import Case, Models


def open_case(name: str) -> Case:
    return (compact if name.startswith(compact.PREFIX) else shared).open_case(name)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Every detector and output, made once."""
    return Models(tmp_path_factory.mktemp("golden"), open_case)
