"""Encoders and decoders: shapes, range, and decoders that know their sizes from their file."""

from __future__ import annotations

import pytest
import torch

from hpc_recon.core.errors import DataError
from hpc_recon.nets import autoencoders


@pytest.mark.parametrize("size", [8, 16, 64])
def test_images_go_through_a_latent_and_come_back_at_their_size(size):
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    code = autoencoders.Encoder(size, 10, width=4)(pictures)
    assert code.shape == (2, 10)
    made = autoencoders.Decoder(size, 10, width=4)(code)
    assert made.shape == pictures.shape
    assert 0 < made.min() <= made.max() < 1
    assert autoencoders.small_pggan(size, 10, width=4)(code).shape == pictures.shape


def test_a_decoder_knows_its_sizes_from_its_file(tmp_path):
    torch.manual_seed(1)
    made = autoencoders.Decoder(32, 5, width=6).eval()
    torch.save(made.state_dict(), tmp_path / "d.pt")
    code = torch.randn(2, 5)
    assert torch.equal(autoencoders.load_decoder(tmp_path / "d.pt")(code), made(code))
    torch.save({"a": torch.zeros(2)}, tmp_path / "e.pt")
    with pytest.raises(DataError, match="does not hold a decoder"):
        autoencoders.load_decoder(tmp_path / "e.pt")


@pytest.mark.parametrize("size", [4, 24, 512])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"not of {size}"):
        autoencoders.n_halvings(size)
