"""An object store that fails: named, in time, and without its secrets. What it does when it works: test_places.py."""

from __future__ import annotations

import pytest

from hpc_recon.core import objects
from hpc_recon.core.errors import StoreUnreachable
from hpc_recon.core.objects import Objects, public


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setitem(objects.RETRIES, "max_retries", 0)


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.read_bytes("x"),
        lambda store: store.read_many(["x", "y"]),
        lambda store: store.write_atomic("x", b""),
        lambda store: store.create("x", b""),
        lambda store: store.exists("x"),
        lambda store: store.sizes([str(i) for i in range(20)]),
        lambda store: store.measure("x"),
        lambda store: store.delete(["x"]),
        lambda store: store.listing("x"),
        lambda store: list(store.walk("x")),
        lambda store: store.versions("x"),
    ],
)
def test_a_store_that_does_not_answer_is_named_without_its_secrets(bucket, impatient, monkeypatch, ask):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hidden-token@127.0.0.1:9")
    with pytest.raises(StoreUnreachable, match=r"the object store s3://lab-.* cannot be used: .*credentials") as caught:
        ask(Objects(f"{bucket}/x"))
    assert "hidden-token" not in str(caught.value)
    assert caught.value.__suppress_context__, "a traceback would show the store's own message"


def test_a_bucket_that_does_not_exist_cannot_be_written(bucket):
    for put in (Objects.write_atomic, Objects.create):
        with pytest.raises(StoreUnreachable, match="NoSuchBucket"):
            put(Objects(f"{bucket}-other/x"), "name", b"")


def test_many_objects_are_removed_where_the_store_refuses_those_that_are_absent(bucket, monkeypatch):
    store = Objects(f"{bucket}/x")
    for name in "ac":
        store.write_atomic(name, b"x")
    real = store._api.delete

    def strict(client, names):
        if isinstance(names, list):
            raise FileNotFoundError("as Google and Azure do")
        return real(client, names)

    class Api:
        delete = staticmethod(strict)
        exceptions = store._api.exceptions

    monkeypatch.setattr(store, "_api", Api)
    store.delete(["a", "b", "c"])
    assert list(Objects(f"{bucket}/x").walk("")) == []


def test_large_objects_come_back_whole(bucket):
    """Above 5 MiB an object is sent in parts, and it is measured in pieces."""
    store, payload = Objects(f"{bucket}/x"), bytes(range(256)) * (11 << 12)
    store.write_atomic("big", payload)
    assert store.sizes(["big"]) == {"big": len(payload)}
    assert store.read_bytes("big") == payload
    assert store.measure("big")[0] == len(payload)


def test_settings_of_the_connection_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_PROXY_URL", "http://proxy")
    monkeypatch.setenv("AWS_TIMEOUT", "7s")
    assert objects._connection("s3://lab/x") == {"timeout": "7s", "proxy_url": "http://proxy"}
    assert objects._connection("gs://lab/x") == {"timeout": objects.TIMEOUT}


def test_shown_text_is_short_and_has_no_query(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    text = public(
        ValueError("PUT http://me:pw@h/x?sig=abc&se=1 failed (very-secret-key)\n\nDebug source: all of it" + "x" * 999)
    )
    assert text == "PUT http://h/x failed ([hidden])"
    assert len(public(ValueError("x" * 999))) == objects.SHOWN
