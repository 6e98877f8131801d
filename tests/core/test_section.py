"""Parts of a study file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hpc_recon.core.icnn_options import GeneratorLatent
from hpc_recon.core.section import Section, in_words, listed
from hpc_recon.core.train_options import Comparator


class Part(Section):
    model_size: int = 1


def test_a_part_is_frozen_and_knows_its_keys():
    part = Part(model_size=2)
    with pytest.raises(ValidationError, match="frozen"):
        part.model_size = 3
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Part(size=2)


@pytest.mark.parametrize("rate", [float("inf"), float("-inf"), float("nan")])
def test_numbers_are_finite(rate):
    with pytest.raises(ValidationError, match="finite number"):
        Whole(rate=rate)
    with pytest.raises(ValidationError, match="finite number"):
        Whole(rates=(1.0, rate))


class Whole(Section):
    part: Part = Part()
    file: Path = Path("a")
    names: tuple[str, ...] = ()
    rate: float = 0.5
    rates: tuple[float, ...] = ()


def test_what_differs_from_its_default_in_words():
    assert in_words(Whole()) == ""
    assert in_words(Whole(part=Part(model_size=3), rate=1e-7), "rate") == "part (model size 3)"
    assert in_words(Whole(file=Path("/data/b.txt"), names=("x", "y"))) == "file b.txt, names x and y"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_a_weights_file_may_be_called_like_a_word():
    """`own_vgg.pt` counted as the word own, and was refused as a badly written seed."""
    generator = GeneratorLatent(generator="small", weights="own_small.pt")
    assert (generator.weights, Comparator(weights="owner.pt").weights) == (Path("own_small.pt"), Path("owner.pt"))
    # As JSON, in which `ingest` keeps a study: a path made of the text before was refused as no text.
    assert Comparator.model_validate_json('{"weights": "a.pt"}').weights == Path("a.pt")
    assert Comparator.model_validate_json(Comparator(weights="own").model_dump_json()).weights == "own"
    words = [Comparator(weights=word).weights for word in ("own", "random:3", "torchvision:DEFAULT")]
    assert words == ["own", "random:3", "torchvision:DEFAULT"]
