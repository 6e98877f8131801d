"""Secrets are taken out of text, and ordinary text stays as it is."""

from __future__ import annotations

import pytest

from hpc_recon.core.redaction import HIDDEN, redacted, without_secrets

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
ENVIRONMENT = {"AWS_SECRET_ACCESS_KEY": SECRET, "HOME": "/data/me", "MY_TOKEN": "x", "TOKEN_FILE": "/run/token-file"}


@pytest.mark.parametrize(
    "text",
    [
        f"signing with {SECRET} failed",
        f"s3://AKIA123:{SECRET}@bucket/prefix",
        f"https://host/x?X-Amz-Signature={SECRET}&X-Amz-Date=1",
        f"https://account.blob.core.windows.net/c?sp=r&sig={SECRET}",
        f"{{'aws_secret_access_key': '{SECRET}'}}",
        f"aws_secret_access_key = {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"AWS_SESSION_TOKEN={SECRET}",
        f"password: {SECRET}",
        f"azure://x?account_key={SECRET}",
        f"GET /?token={SECRET} HTTP/1.1",
    ],
)
def test_hidden_wherever_it_stands(text: str) -> None:
    # By its form alone, but for the first one, which only the environment tells.
    found = redacted(text, ENVIRONMENT if text.startswith("signing") else {})
    assert SECRET not in found
    assert HIDDEN in found
    assert SECRET not in redacted(text, ENVIRONMENT)


@pytest.mark.parametrize(
    "text",
    [
        "the store s3://bucket/prefix/a.zarr does not exist; give arrays: s3://bucket/prefix",
        "voxels are NaN in S1/VC (3 of 500); see https://example.org/a?page=2",
        "    token = self.class_token.expand(n, -1, -1)",
        "    tokens = tokens[:, 1:]",
        "TypeError: f() got an unexpected keyword argument 'x'; signature: (a, b)",
        "state 7f3a@node12, mail me@lab.org, key=conv1_1, /data/me/token-file, x",
        "fit.alpha: 1 -> 2; keys: brain, labels",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redacted(text, ENVIRONMENT) == text


def test_short_and_empty_values_are_not_looked_for() -> None:
    assert redacted("a test", {"API_TOKEN": "a", "SECRET": ""}) == "a test"


def test_of_two_secrets_one_of_which_holds_the_other() -> None:
    assert redacted("abcdefghij", {"A_TOKEN": "abcdef", "B_TOKEN": "abcdefghij"}) == HIDDEN


def fail() -> None:
    with without_secrets():
        try:
            raise OSError(5, f"cannot sign with {SECRET}", f"s3://b/x?sig={SECRET}")
        except OSError as error:
            raise RuntimeError("reading failed", f"url s3://me:{SECRET}@b/x") from error


def test_errors_and_their_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(RuntimeError) as caught:
        fail()
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert SECRET not in repr(caught.value.__cause__)
    assert SECRET not in str(caught.value.__cause__)


def test_an_error_without_a_secret_is_untouched() -> None:
    error = KeyError("layer")
    with pytest.raises(KeyError) as caught, without_secrets():
        raise error
    assert caught.value is error
    assert caught.value.args == ("layer",)
