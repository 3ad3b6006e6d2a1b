from __future__ import annotations

import pytest

from swarm.tensors import kernels


@pytest.fixture(autouse=True, params=["compiled", "numpy"])
def kernel(request, monkeypatch):
    """Every test runs with the compiled kernels, where there are any, and without them."""
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "native", None)
    elif kernels.native is None:
        pytest.skip("the kernels are not compiled here")
