"""What is said about keys that are misspelt, missing or something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'
RUN = ("run", str(APPROVAL), "--input", INPUT)
COMPILE = ("compile", str(APPROVAL), "-o", "x.flowbundle", "--key")
SECRET = "hello my secret"


@pytest.fixture
def keys(art: Any) -> Any:
    art("key", "new", "host", "--usage", "host")
    art("key", "new", "relaese", "--usage", "host")
    art("key", "new", "release")
    art("key", "new", "lost")
    Path("config/keys/lost.pem").unlink()
    return art


@pytest.mark.parametrize(
    "args, env, words",
    [
        (RUN, "hots", ["which host_key names in env ART_HOST_KEY", "did you mean 'host'?", "art key new hots --usage host"]),
        (RUN, "other", ["art key new other --usage host"]),
        ((*RUN, "--host-key", "hots"), None, ["no private key 'hots'\n", "art key new hots --usage host"]),
        ((*COMPILE, "relese"), None, ["did you mean 'release'?", "art key new relese\n"]),
        ((*COMPILE, "lost"), None, ["art key new NAME\n"]),
        ((*COMPILE, "keys/x.pem"), None, ["art key new NAME\n"]),
        ((*COMPILE, "two words"), None, ["art key new NAME\n"]),
        ((*COMPILE, "a;b"), None, ["art key new 'a;b'\n"]),
    ],
    ids=["host", "unlike", "flag", "publisher", "public half only", "path", "no name", "shell"],
)  # fmt: skip
def test_a_missing_key_says_which_was_meant_and_how_to_make_it(
    keys: Any, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], env: str | None, words: Any
) -> None:
    if env:
        monkeypatch.setenv("ART_HOST_KEY", env)

    done = keys(*args)

    assert done.code == 66
    assert [word for word in words if word not in done.err] == [], done.err


def test_a_public_key_is_not_told_to_be_hidden(keys: Any) -> None:
    done = keys(*COMPILE, "config/keys/release.vkey")

    assert done.code == 2, done.err
    assert "is not a private key in PEM form" in done.err
    assert "name the .pem file: config/keys/release.pem" in done.err
    assert "chmod" not in done.err


def junk(name: str, data: bytes = SECRET.encode()) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)


READERS = {
    "import": ("j", ("key", "import", "j")),
    "import pem": ("j", ("key", "import", "j", "--name", "k")),
    "trust": ("j", ("key", "trust", "j")),
    "key list": ("config/keys/j.vkey", ("key", "list")),
    "host key": ("j", (*RUN, "--host-key", "j")),
    "vkey": ("j", ("ledger", "verify", str(APPROVAL), "--vkey", "j")),
    "trust store": ("config/trust.json", ("key", "list")),
    "settings": ("config/config.yaml", ("runs",)),
    "script": ("j", (*RUN, "--llm-stub", "j")),
    "flow": ("j", ("run", "j")),
    "bundle": ("j", ("bundle", "verify", "j")),
    "seal": ("config/seal.key", RUN),
    "signature": ("j", ("bundle", "verify", "x.flowbundle", "--signature", "j")),
}


@pytest.mark.parametrize("data", [SECRET.encode(), b"\xff\xfe\x00", b"", b'{"' + SECRET.encode()])
@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_something_else_is_named_and_not_quoted(
    art: Any, name: str, data: bytes
) -> None:
    path, args = READERS[name]
    if name == "signature":
        art("key", "new", "k")
        art(*COMPILE, "k")
    junk(path, data)

    done = art(*args)

    if name == "settings" and not data:
        return  # no settings
    assert SECRET not in done.err
    assert "Expecting" not in done.err
    if name == "signature":
        assert "detached 0" in done.err
        return
    assert done.code in {2, 3, 65, 1}, done.err
    assert f"{Path(path).name}'" in done.err.splitlines()[0] or path in done.err, done.err
    assert SECRET not in json.dumps(art(*args, "--json").document)
