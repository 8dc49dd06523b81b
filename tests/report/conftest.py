"""Findings for every test of reports."""

from __future__ import annotations

import pytest

from tadshrink.report.findings import Cost, Findings, Model, Step
from tests.report.examples import told


@pytest.fixture
def findings() -> Findings:
    """See :func:`told`."""
    return told()


@pytest.fixture
def alone() -> Findings:
    """Of a checkpoint without its run."""
    cost = Cost(700, {"blocks": 600, "head": 100}, {1: 300, 3: 300}, 1300)
    return told(baseline=None, final=None, plan=None, stopped=None, timelines=(), cost=cost, title="model.pth",
                steps=(Step(Model("drop 1", (2,)), curve=[{"feature": 1.0}]), Step(Model("drop 2", (0,)))))
