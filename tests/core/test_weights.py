"""What `weights` may say: a word, or a path."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from hpc_recon.core.weights import FileOrWord


@pytest.mark.parametrize("word", ["random:0", "random", "torchvision:IMAGENET1K_V1", "own"])
def test_words_stay_words(word: str) -> None:
    assert TypeAdapter(FileOrWord).validate_python(word) == word
    assert TypeAdapter(FileOrWord).validate_json(f'"{word}"') == word


@pytest.mark.parametrize("name", ["own_alexnet.pt", "owner/x.pt", "random_forest.pt", "/data/own"])
def test_all_else_is_a_path_however_it_begins(name: str) -> None:
    assert TypeAdapter(FileOrWord).validate_python(name) == Path(name)
    assert TypeAdapter(FileOrWord).validate_json(f'"{name}"') == Path(name)
