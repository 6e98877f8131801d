from __future__ import annotations

import base64
import re
import tracemalloc
import zlib
from pathlib import Path
from types import SimpleNamespace
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats import xml_bounds

PATH = Path("L.func.gii")


def gifti(encoding="B64GZ", n=10):
    array = nib.gifti.GiftiDataArray(np.arange(n, dtype=np.float32), encoding=encoding)
    return nib.GiftiImage(darrays=[array, array]).to_bytes()


@pytest.mark.parametrize("encoding", ["B64GZ", "B64BIN", "ASCII"])
def test_what_nibabel_writes_is_accepted(encoding):
    xml_bounds.require_bounded_gifti(gifti(encoding), PATH)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b'Dim0="10"', b'Dim0="9"', "says that it has 36 bytes, but holds more than 36"),
        (b'Dim0="10"', b'Dim0="11"', "says that it has 44 bytes, but holds 40"),
        (b'Dim0="10"', b'Dim0="4000000000"', "says that it has 16000000000 bytes, but holds 40"),
        (b'Dim0="10"', b'Dim0="-10"', r"shape \[-10\]"),
        (b'Dimensionality="1"', b'Dimensionality="1000000000000"', "has 1000000000000 axes"),
        (b'NumberOfDataArrays="2"', b'NumberOfDataArrays="3"', "3 arrays .NumberOfDataArrays., but has 2"),
        (b'Encoding="GZipBase64Binary"', b'Encoding="ExternalFileBinary"', "lies in another file"),
        (b"<!DOCTYPE GIFTI", b'<!DOCTYPE GIFTI [<!ENTITY a "b">]><!-- ', "declares XML entities"),
    ],
)
def test_what_does_not_agree_is_refused(old, new, rule):
    content = gifti()
    assert old in content
    changed = content.replace(old, new)
    with pytest.raises(DataError, match=rule):
        xml_bounds.require_bounded_gifti(changed, PATH)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_entities_are_found_in_every_encoding(encoding):
    with pytest.raises(DataError, match="declares XML entities"):
        xml_bounds.require_no_entities('<!DOCTYPE x [<!ENTITY a "b">]>'.encode(encoding), PATH)


def test_a_bomb_is_counted_and_not_kept():
    bomb = base64.b64encode(zlib.compress(bytes(64 << 20), 9))
    content = re.sub(rb"<Data>[^<]*</Data>", b"<Data>" + bomb + b"</Data>", gifti())
    tracemalloc.start()
    with pytest.raises(DataError, match="holds more than 40"):
        xml_bounds.require_bounded_gifti(content, PATH)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    honest = content.replace(b'Dim0="10"', f'Dim0="{16 << 20}"'.encode())  # as many floats as it holds
    tracemalloc.reset_peak()
    xml_bounds.require_bounded_gifti(honest, PATH)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_what_is_no_xml_or_no_number_raises():
    with pytest.raises(ExpatError):
        xml_bounds.require_bounded_gifti(gifti()[:-20], PATH)
    with pytest.raises(ValueError, match="invalid literal"):
        xml_bounds.require_bounded_gifti(gifti().replace(b'Dim0="10"', b'Dim0="ten"'), PATH)
    with pytest.raises(KeyError):
        xml_bounds.require_bounded_gifti(gifti().replace(b'Dim0="10"', b'Dim1="10"'), PATH)


@pytest.mark.parametrize("counts", [[60, 50], [10**12], [-1, 5]])
def test_more_grayordinates_than_columns_are_refused_unallocated(counts):
    maps = [
        SimpleNamespace(brain_models=[]),
        SimpleNamespace(brain_models=[SimpleNamespace(index_count=n) for n in counts]),
    ]
    header = SimpleNamespace(matrix=SimpleNamespace(get_index_map=maps.__getitem__))
    with pytest.raises(DataError, match=rf"describes {sum(counts)} grayordinates, but the file has 100"):
        xml_bounds.require_counted(header, (7, 100), PATH)
    maps[1].brain_models = [SimpleNamespace(index_count=50)] * 2
    xml_bounds.require_counted(header, (7, 100), PATH)
