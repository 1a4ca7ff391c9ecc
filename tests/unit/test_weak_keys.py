"""Points that are nobody's public key verify nothing and are not trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from abstractruntime.cli.app import main
from abstractruntime.signing.keys import SigningKey, VerifierKey

P = 2**255 - 19
EIGHT_1 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
EIGHT_2 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"


def encoded(y: int, sign: int) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


SMALL = [
    *(encoded(y, sign) for y in (0, 1, P - 1, P, P + 1, 2**255 - 1) for sign in (0, 1)),
    *(
        encoded(int.from_bytes(bytes.fromhex(text), "little"), sign)
        for text in (EIGHT_1, EIGHT_2)
        for sign in (0, 1)
    ),
    (2).to_bytes(32, "little"),  # no point of the curve
]


def pem(public: bytes) -> str:
    import base64

    data = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + public).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{data}\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("public", SMALL, ids=bytes.hex)
def test_a_weak_key_verifies_nothing_and_is_not_trusted(
    public: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    key = VerifierKey("evil", public)
    assert not key.verify(b"anything", encoded(1, 0) + (0).to_bytes(32, "little"))
    assert not key.verify(b"anything", public + (0).to_bytes(32, "little"))

    Path("evil.pem").write_text(pem(public))
    for command in (("trust", key.vkey), ("import", "evil.pem", "--name", "evil")):
        assert main(["key", *command]) == 2
        assert "of small order" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.vkey"))
    assert not (tmp_path / "config" / "trust.json").exists()


@pytest.mark.parametrize("number", range(8))
def test_a_real_key_is_not_weak(number: int) -> None:
    key = SigningKey.from_seed("k", bytes([number]) * 32)
    assert key.verifier.verify(b"m", key.sign(b"m"))
