from __future__ import annotations

import pytest

from tadshrink.data.names import short_name


@pytest.mark.parametrize(("given", "name"), [("activitynet-1.3", "activitynet-1.3"), ("a/my.set.yaml", "my.set"), ("b.yml", "b"),
                                             ("synthetic", "synthetic")])
def test_names_for_people(given: str, name: str) -> None:
    assert short_name(given) == name
