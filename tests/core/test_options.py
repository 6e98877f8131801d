"""Method options: closed, and chosen by `method`."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from hpc_recon.core.config import Reconstruct
from hpc_recon.core.options import IcnnOptions, PixelsOptions

ADAPTER: TypeAdapter[IcnnOptions | PixelsOptions] = TypeAdapter(Reconstruct)


def test_method_chooses_the_model() -> None:
    assert isinstance(ADAPTER.validate_python({"method": "icnn", "network": "vgg"}), IcnnOptions)
    assert isinstance(ADAPTER.validate_python({"method": "pixels", "network": "x"}), PixelsOptions)


@pytest.mark.parametrize(
    "extra", [{"iterations": 0}, {"layer_weights": {"conv1_1": 0}}, {"total_variation": -1}, {"x": 1}]
)
def test_out_of_range_or_unknown(extra: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python({"method": "icnn", "network": "vgg", **extra})
