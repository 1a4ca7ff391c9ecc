"""Damage a signed bundle in every way we can think of: refused, and nothing leaves its place."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import pytest

from abstractruntime.errors import AbstractRuntimeError, ArchiveInvalid, Untrusted
from abstractruntime.signing import SigningKey, TrustedKey, TrustStore
from abstractruntime.workflow_bundle import (
    BundlePlan,
    FlowLibrary,
    WorkflowBundleError,
    open_workflow_bundle,
    pack_flowbundle,
    sign_bundle,
    unpack_workflow_bundle,
    verify_bundle,
)
from abstractruntime.workflow_bundle._archive import read_archive, write_archive
from abstractruntime.workflow_bundle._zip import CENTRAL, END, LOCAL, Limits
from abstractruntime.workflow_bundle.reader import read_bundle

KEY = SigningKey.from_seed("acme.example/release", bytes(range(32)))
OTHER_KEY = SigningKey.from_seed("acme.example/release", bytes(range(1, 33)))
TRUST = TrustStore(keys=(TrustedKey(KEY.verifier),))
FLOWS = {"a": b'{"id":"a","nodes":[],"edges":[]}', "b": b'{"id":"b"}'}
UNSIGNED = pack_flowbundle(
    FlowLibrary.from_documents(FLOWS), BundlePlan(["a", "b"], "acme-demo", "1.0.0")
)
SIGNED = sign_bundle(UNSIGNED, KEY)


def test_the_untouched_bundle_is_valid():
    verdict = verify_bundle(SIGNED, TRUST)

    assert (verdict.verdict, verdict.rule) == ("valid", "signed")
    assert verdict.signers == (KEY.verifier.label,)


@pytest.mark.parametrize("bit", [0, 5, 7])
def test_every_byte_flip_is_refused(bit):
    for position in range(len(SIGNED)):
        damaged = bytearray(SIGNED)
        damaged[position] ^= 1 << bit
        with pytest.raises((ArchiveInvalid, WorkflowBundleError, Untrusted)):
            verify_bundle(bytes(damaged), TRUST)


def test_every_truncation_is_refused():
    for length in range(len(SIGNED)):
        with pytest.raises(ArchiveInvalid):
            verify_bundle(SIGNED[:length], TRUST)


# ---- containers that say the same in another way


def _zipped(members, *, method=zipfile.ZIP_STORED, comment=b"", tweak=None):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr, info.create_system, info.compress_type = 0o100644 << 16, 3, method
            if tweak:
                tweak(info)
            archive.writestr(info, body)
        archive.comment = comment
    return buffer.getvalue()


def _members(data=SIGNED):
    return list(read_archive(data).items())


def _set(**fields):
    def tweak(info):
        for name, value in fields.items():
            setattr(info, name, value)

    return tweak


def _duplicate():
    # zipfile warns about duplicates, so the second name is patched in afterwards.
    data = _zipped([*_members(), ("flows/z.json", b"{}")])
    return data.replace(b"flows/z.json", b"flows/a.json")


RECODED = {
    "prefix": lambda: b"x" + SIGNED,
    "suffix": lambda: SIGNED + b"x",
    "second-end": lambda: SIGNED + SIGNED[-END.size :],
    "twice": lambda: SIGNED + SIGNED,
    "order": lambda: _zipped(reversed(_members())),
    "deflated": lambda: _zipped(_members(), method=zipfile.ZIP_DEFLATED),
    "comment": lambda: _zipped(_members(), comment=b"hello"),
    "end-in-comment": lambda: _zipped(_members(), comment=SIGNED[-END.size :]),
    "timestamp": lambda: _zipped(_members(), tweak=_set(date_time=(2026, 1, 1, 0, 0, 0))),
    "symlink": lambda: _zipped(_members(), tweak=_set(external_attr=0o120777 << 16)),
    "setuid": lambda: _zipped(_members(), tweak=_set(external_attr=0o104755 << 16)),
    "extra": lambda: _zipped(_members(), tweak=_set(extra=b"\xfe\xca\0\0")),
    "member-comment": lambda: _zipped(_members(), tweak=_set(comment=b"x")),
    "dos": lambda: _zipped(_members(), tweak=_set(create_system=0)),
    "duplicate": _duplicate,
    "directory": lambda: _zipped([*_members(), ("flows/", b"")]),
    "unlisted": lambda: _zipped([*_members(), ("flows/zz.json", b"{}")]),
}


@pytest.mark.parametrize("name", RECODED)
def test_a_recoded_archive_is_refused(name):
    with pytest.raises(ArchiveInvalid):
        verify_bundle(RECODED[name](), TRUST)
    with pytest.raises(WorkflowBundleError):
        read_bundle(RECODED[name](), Path("x"))


def test_the_emitter_equals_zipfile():
    assert _zipped(_members()) == SIGNED


# ---- canonical archives with other content


def _rewritten(change):
    members = read_archive(SIGNED)
    change(members)
    return write_archive(members)


SIGNATURE = "signatures/acme.example-release.dsse.json"


def _swap_flow(members):
    members["flows/a.json"] = b'{"id":"a","nodes":[],"edges":[],"x":1}'


def _add_flow(members):
    members["flows/c.json"] = b'{"id":"c"}'


def _change_manifest(members):
    members["manifest.json"] = members["manifest.json"].replace(b"acme-demo", b"acme-dem0")


def _lower_version(members):
    members["manifest.json"] = members["manifest.json"].replace(b"1.0.0", b"0.9.0")


def _drop_profile(members):
    members["manifest.json"] = members["manifest.json"].replace(b'"profile"', b'"profil3"')


def _signature_of_other_bundle(members):
    other = pack_flowbundle(
        FlowLibrary.from_documents(FLOWS), BundlePlan(["b"], "acme-demo", "1.0.0")
    )
    members[SIGNATURE] = read_archive(sign_bundle(other, KEY))[SIGNATURE]


@pytest.mark.parametrize(
    "change, error",
    [
        (_swap_flow, ArchiveInvalid),
        (_add_flow, ArchiveInvalid),
        (lambda m: m.pop("flows/b.json"), ArchiveInvalid),
        (_change_manifest, Untrusted),
        (_lower_version, Untrusted),
        (_drop_profile, Untrusted),
        (_signature_of_other_bundle, Untrusted),
        (lambda m: m.pop(SIGNATURE), Untrusted),
        (lambda m: m.update({SIGNATURE: b"{}"}), Untrusted),
        (lambda m: m.update({SIGNATURE: b"[" * 100_000}), Untrusted),
    ],
    ids=["swap-flow", "add-flow", "drop-flow", "id", "version", "profile", "other-signature",
         "stripped", "empty-envelope", "deep-envelope"],
)  # fmt: skip
def test_changed_content_is_refused(change, error):
    with pytest.raises(error):
        verify_bundle(_rewritten(change), TRUST)


def _false_signature(members):
    good = json.loads(members[SIGNATURE])
    good["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    members[SIGNATURE] = json.dumps(good).encode()


@pytest.mark.parametrize("options", [{}, {"allow_unsigned": True}], ids=["plain", "allowing"])
def test_a_false_signature_is_refused(options):
    with pytest.raises(Untrusted) as caught:
        verify_bundle(_rewritten(_false_signature), TRUST, **options)

    assert caught.value.details["rule"] == "failing_signatures"


def test_another_key_of_the_same_name_is_no_trusted_signer():
    with pytest.raises(Untrusted):
        verify_bundle(sign_bundle(UNSIGNED, OTHER_KEY), TRUST)


@pytest.mark.parametrize("change", [_false_signature, _change_manifest, lambda m: m.pop(SIGNATURE)])
def test_no_flow_is_parsed_before_its_bundle_is_trusted(change, monkeypatch):
    def explode(*_args):
        raise AssertionError("a flow was parsed")

    monkeypatch.setattr("abstractruntime.workflow_bundle.verify.check_flows", explode)

    with pytest.raises(Untrusted):
        verify_bundle(_rewritten(change), TRUST)


@pytest.mark.parametrize("change", [_change_manifest, _drop_profile, _signature_of_other_bundle])
def test_failing_signatures_are_refused_even_where_unsigned_bundles_are_allowed(change):
    with pytest.raises(Untrusted):
        verify_bundle(_rewritten(change), TRUST, allow_unsigned=True)


# ---- hostile names and structures


@pytest.mark.parametrize(
    "name",
    ["../x", "flows/../../x", "/etc/x", "C:/x", "flows\\x.json", "flows/\0x", "flows/a\nb", "flows/é.json",
     "flows/a.", "flows/a ", "flows/CON", "flows/con.json", "flows/lpt1.json", "flows//a", "flows/",
     "flows", "other/x", "flows/.x", "flows/a/b/c/d", "flows/" + "a" * 250, "Flows/a", "flows/\uff41.json",
     "//server/x", ""],
)  # fmt: skip
def test_a_hostile_name_is_refused(name, tmp_path):
    with pytest.raises(ArchiveInvalid):
        write_archive({"manifest.json": b"{}", name: b""})


def test_names_that_differ_in_case_are_refused():
    with pytest.raises(ArchiveInvalid, match="case"):
        write_archive({"manifest.json": b"{}", "flows/a": b"", "flows/A": b""})


MANIFEST = (
    b'{"bundle_format_version":"1","bundle_id":"x","entrypoints":[{"flow_id":"a"}],'
    b'"flows":{"a":"flows/a.json"}}'
)


def _legacy(*more, method=zipfile.ZIP_DEFLATED):
    return _zipped(
        [("flows/a.json", b'{"id":"a"}'), *more, ("manifest.json", MANIFEST)], method=method
    )


def _patched(offset_of, position, value, size="<I"):
    data = bytearray(_legacy())
    at = data.rfind(offset_of) if offset_of == b"PK\x05\x06" else data.find(offset_of)
    struct.pack_into(size, data, at + position, value)
    return bytes(data)


def _deflated(content, *, size=None, trailing=b""):
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = body.compress(content) + body.flush() + trailing
    length = len(content) if size is None else size
    common = (0, 8, 0, 33, zlib.crc32(content[:length]), len(packed), length, 13)
    local = LOCAL.pack(b"PK\x03\x04", 20, *common, 0) + b"manifest.json" + packed
    central = CENTRAL.pack(b"PK\x01\x02", 20, 20, *common, 0, 0, 0, 0, 0, 0) + b"manifest.json"
    return local + central + END.pack(b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)


def test_the_hand_made_archive_is_fine_when_it_tells_the_truth():
    assert read_bundle(_deflated(MANIFEST), Path("x")).manifest.bundle_id == "x"


HOSTILE = {
    "traversal": lambda: _legacy(("../x", b"")),
    "absolute": lambda: _legacy(("/x", b"")),
    "drive": lambda: _legacy(("C:/x", b"")),
    "backslash": lambda: _legacy(("..\\x", b"")),
    "newline": lambda: _legacy(("a\nb", b"")),
    "case": lambda: _legacy(("flows/A.json", b"")),
    "ratio": lambda: _legacy(("flows/z.json", bytes(10_000_000))),
    "false-size": lambda: _deflated(MANIFEST + bytes(50_000_000), size=len(MANIFEST)),
    "trailing-data": lambda: _deflated(MANIFEST, trailing=b"hidden"),
    "encrypted": lambda: _patched(b"PK\x01\x02", 8, 1, "<H"),
    "method": lambda: _patched(b"PK\x01\x02", 10, 12, "<H"),
    "crc": lambda: _patched(b"PK\x01\x02", 16, 1),
    "offset": lambda: _patched(b"PK\x01\x02", 42, 5),
    "offset-outside": lambda: _patched(b"PK\x01\x02", 42, 0xFFFFFFF0),
    "count": lambda: _patched(b"PK\x05\x06", 10, 7, "<H"),
    "zip64": lambda: _patched(b"PK\x05\x06", 16, 0xFFFFFFFF),
    "huge": lambda: _patched(b"PK\x01\x02", 24, 0xFFFFFFF0),
    "local-name": lambda: _legacy().replace(b"flows/a.json", b"flows/b.json", 1),
    "link": lambda: _patched(b"PK\x01\x02", 38, 0o120777 << 16),
    "device": lambda: _patched(b"PK\x01\x02", 38, 0o020666 << 16),
    "signatures": lambda: _legacy(("signatures/a.dsse.json", b"{}")),
    "no-manifest": lambda: _zipped([("flows/a.json", b"{}")]),
    "empty": lambda: b"",
    "text": lambda: b"hello" * 100,
    "manifest-text": lambda: _zipped([("manifest.json", b"\xff")]),
    "manifest-list": lambda: _zipped([("manifest.json", b"[]")]),
    "manifest-deep": lambda: _zipped([("manifest.json", b"[" * 100_000)]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_older_archive_is_refused(name):
    with pytest.raises(WorkflowBundleError):
        read_bundle(HOSTILE[name](), Path("x"))


@pytest.mark.parametrize(
    "limits",
    [Limits(archive=100), Limits(members=2), Limits(manifest=100), Limits(envelope=100), Limits(signatures=0)],
    ids=["archive", "members", "manifest", "envelope", "signatures"],
)  # fmt: skip
def test_limits_hold(limits):
    with pytest.raises(ArchiveInvalid):
        read_archive(SIGNED, limits=limits)


# ---- unpacking


def _file(tmp_path, data):
    path = tmp_path / "x.flow"
    path.write_bytes(data)
    return path


def test_unpack_writes_only_what_the_manifest_names(tmp_path):
    path = _file(tmp_path, _legacy(("extra.sh", b"x")))

    out = unpack_workflow_bundle(bundle_path=path, out_dir=tmp_path / "out")

    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["a.json", "manifest.json"]


def test_unpack_keeps_existing_files_unless_told(tmp_path):
    path, out = _file(tmp_path, SIGNED), tmp_path / "out"
    (out / "flows").mkdir(parents=True)
    (out / "flows/a.json").write_text("mine")

    with pytest.raises(AbstractRuntimeError, match="exists already"):
        unpack_workflow_bundle(bundle_path=path, out_dir=out)
    assert (out / "flows/a.json").read_text() == "mine"

    unpack_workflow_bundle(bundle_path=path, out_dir=out, overwrite=True)
    assert (out / "flows/a.json").read_bytes() == FLOWS["a"]


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("place", ["", "flows", "flows/a.json", "manifest.json"])
def test_unpack_never_writes_through_a_link(place, overwrite, tmp_path):
    path, out, outside = _file(tmp_path, SIGNED), tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    link = out / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside if "." not in place else outside / "file")

    if overwrite and "." in place:
        unpack_workflow_bundle(bundle_path=path, out_dir=out, overwrite=True)
    else:
        with pytest.raises(AbstractRuntimeError):
            unpack_workflow_bundle(bundle_path=path, out_dir=out, overwrite=overwrite)

    assert [p.name for p in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "mine"


def test_a_directory_bundle_does_not_follow_links_out(tmp_path):
    (tmp_path / "secret").write_text("secret")
    base = tmp_path / "bundle"
    (base / "flows").mkdir(parents=True)
    (base / "manifest.json").write_bytes(MANIFEST)
    (base / "flows/a.json").symlink_to(tmp_path / "secret")

    with pytest.raises(WorkflowBundleError, match="leads out"):
        open_workflow_bundle(base).read_bytes("flows/a.json")
