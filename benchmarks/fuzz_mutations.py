"""Changed files for `fuzz_files.py`: bytes flipped, overwritten, cut, added, spliced; packed parts changed inside."""

from __future__ import annotations

import base64
import gzip
import io
import re
import struct
import zipfile
import zlib

#: Numbers that lengths, counts and addresses break at; signed and unsigned alike.
INTEGERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 1000, 4096, 65535, 65536, 1 << 20, 1 << 24, (1 << 31) - 1,
            1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1)  # fmt: skip
TEXTS = (b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"n/a", b"-1", b"1e999", b"9" * 30, b"\t", b"\n", b"\r",
         b" ", b"<", b">", b'"', b"'", b"&amp;", b"&#0;", b"<!--", b"(" * 120, b")", b"|", b"=", b"*", b"[" * 2000,
         "ä".encode(), "ä".encode("latin-1"), b"\xed\xa0\x80", b"_", b"0x10", b"True", b"{}", b"1,2")  # fmt: skip


def mutated(content, donors, rng):
    """Return the content with changes; in packed formats, half of the time inside.

    Parameters
    ----------
    content
        Bytes of a sound file.
    donors
        Other sound files of the same reader, that pieces are taken from.
    rng
        `random.Random`; nothing else decides.
    """
    if rng.random() < 0.5:
        for inside in (_in_zip, _in_gzip, _in_mat, _in_base64):
            found = inside(content, donors, rng)
            if found is not None:
                return found
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = _changed(content, donors, rng)
    return content


def _changed(content, donors, rng):
    """Return the content with one change."""
    changed = bytearray(content)
    if not changed:
        return rng.choice(TEXTS)
    # Half of them near the start, where the structure lies.
    at = rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 2048))
    is_text = all(byte >= 9 for byte in content[:64])
    kinds = ("bit", "byte", "run", "cut", "add", "copy", "splice", "integer", "integer", "remove")
    kind = rng.choice((*kinds, *("text", "digits", "line") * 3) if is_text else kinds)
    if kind == "bit":
        for _ in range(rng.choice((1, 2, 8))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        changed[at] = rng.randrange(256)
    elif kind == "run":
        size = rng.choice((2, 4, 8, 64, 512))
        changed[at : at + size] = rng.choice((b"\0", b"\xff", rng.randbytes(1))) * min(size, len(changed) - at)
    elif kind == "cut":
        del changed[at:]
    elif kind == "add":
        changed += rng.randbytes(rng.choice((1, 8, 100))) if rng.random() < 0.5 else changed[at:]
    elif kind == "copy":
        size, source = rng.choice((4, 8, 32, 128)), rng.randrange(len(changed))
        changed[at : at + size] = changed[source : source + size]
    elif kind == "splice":
        donor = rng.choice(donors)
        changed[at:] = donor[min(at, len(donor)) if rng.random() < 0.7 else rng.randrange(len(donor) + 1) :]
    elif kind == "integer":
        size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
        at -= at % size if rng.random() < 0.8 else 0
        value = rng.choice((*INTEGERS, len(changed), at)) + rng.choice((0, 0, 0, -1, 1))
        changed[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)
    elif kind == "remove":
        del changed[at : at + rng.choice((1, 2, 8, 64))]
    elif kind == "text":
        changed[at : at + rng.choice((0, 0, 1, 3))] = rng.choice(TEXTS)
    elif kind == "digits":
        found = list(re.finditer(rb"\d+", content))
        if found:
            place = rng.choice(found)
            changed[place.start() : place.end()] = str(rng.choice(INTEGERS)).encode()
    elif kind == "line":
        lines = content.split(b"\n")
        i = rng.randrange(len(lines))
        lines[i : i + 1] = rng.choice(([], [lines[i]] * 2, [b"\t".join(reversed(lines[i].split(b"\t")))]))
        return b"\n".join(lines)
    return bytes(changed)


def _in_zip(content, donors, rng):
    if not content.startswith(b"PK"):
        return None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    chosen, out = rng.randrange(len(members)), io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i, (info, data) in enumerate(members):
            kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            archive.writestr(info.filename, _changed(data, [data], rng) if i == chosen else data, compress_type=kind)
    return out.getvalue()


def _in_gzip(content, donors, rng):
    if not content.startswith(b"\x1f\x8b"):
        return None
    return gzip.compress(_changed(gzip.decompress(content), [gzip.decompress(content)], rng), 1, mtime=0)


def _in_mat(content, donors, rng):
    """Change one compressed variable of a MAT-file level 5."""
    if content[124:128] != b"\x00\x01IM":
        return None
    at, parts = 128, []
    while at + 8 <= len(content):
        kind, size = struct.unpack("<II", content[at : at + 8])
        parts.append((kind, content[at + 8 : at + 8 + size]))
        at += 8 + size
    packed = [i for i, (kind, _) in enumerate(parts) if kind == 15]
    if not packed:
        return None
    chosen = rng.choice(packed)
    inner = _changed(zlib.decompress(parts[chosen][1]), [zlib.decompress(parts[i][1]) for i in packed], rng)
    parts[chosen] = (15, zlib.compress(inner, 1))
    return content[:128] + b"".join(struct.pack("<II", kind, len(data)) + data for kind, data in parts)


def _in_base64(content, donors, rng):
    """Change one block of base64 in XML: its bytes, or what they unpack to; or put a much larger one in its place."""
    blocks = list(re.finditer(rb"<Data>([A-Za-z0-9+/=\s]+)</Data>", content))
    if not blocks:
        return None
    block = rng.choice(blocks)
    raw = base64.b64decode(block[1])
    try:
        inner = zlib.decompress(raw)
    except zlib.error:
        new = _changed(raw, [raw], rng)
    else:
        new = zlib.compress(bytes(1 << 22) if rng.random() < 0.05 else _changed(inner, [inner], rng), 1)
    return content[: block.start(1)] + base64.b64encode(new) + content[block.end(1) :]
