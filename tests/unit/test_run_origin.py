"""What started a run: the bytes that the first record holds, and reading whatever stands there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abstractruntime._json import dump_line
from abstractruntime.core.models import RunState, RunStatus
from abstractruntime.core.origin import RunOrigin, first_record
from abstractruntime.core.records import RecordFactory
from abstractruntime.testing.clocks import FakeClock, SequentialIds

BUNDLE = RunOrigin(
    workflow_id="w",
    bundle_ref="b@1.0.0",
    bundle_digest="d",
    inputs_sha256="i",
    store_origin="host/1",
    runtime_version="0.5",
    actor="me",
)
FULL = replace(
    BUNDLE,
    signers=("k",),
    overrides=("trust_code",),
    sandbox={"backend": "none"},
    grants=("net",),
    workspace="/w",
    labels={"a": "b"},
    once="key",
    keep_listeners=True,
    settings={"sandbox": {"value": "worker", "origin": "default"}},
    signed_by="host+00000000+AQ==",
    seal="s",
)
START = b'{"internal":"run_started","workflow_id":"w","entry_node":"n"'


def result_of(stated):
    run = RunState("r", "w", RunStatus.RUNNING, "n")
    return first_record(RecordFactory(FakeClock(), SequentialIds()), run, stated).result


@pytest.mark.parametrize(
    ("stated", "rest"),
    [
        (None, b"}"),
        ({"bundle_digest": "d", "ticket": 7}, b',"bundle_digest":"d","ticket":7}'),
        (
            BUNDLE,
            (
                b',"bundle_ref":"b@1.0.0","bundle_digest":"d","signers":[],"inputs_sha256":"i",'
                b'"store_origin":"host/1","runtime_version":"0.5","overrides":[],"sandbox":null,'
                b'"grants":[],"actor":"me","labels":{}}'
            ),
        ),
        (
            FULL,
            (
                b',"bundle_ref":"b@1.0.0","bundle_digest":"d","signers":["k"],"inputs_sha256":"i",'
                b'"store_origin":"host/1","runtime_version":"0.5","overrides":["trust_code"],'
                b'"sandbox":{"backend":"none"},"grants":["net"],"workspace":"/w","actor":"me",'
                b'"labels":{"a":"b"},"once":"key","keep_listeners":true,'
                b'"settings":{"sandbox":{"value":"worker","origin":"default"}},'
                b'"signed_by":"host+00000000+AQ==","seal":"s"}'
            ),
        ),
    ],
    ids=["nothing", "facts of a host", "a bundle", "everything"],
)
def test_the_first_record_keeps_its_bytes(stated, rest):
    assert dump_line(result_of(stated)) == START + rest


@pytest.mark.parametrize("origin", [RunOrigin("w"), BUNDLE, FULL], ids=["little", "bundle", "full"])
def test_what_was_written_is_read(origin):
    assert RunOrigin.of({"result": result_of(origin)}) == replace(origin, entry_node="n")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"result": None},
        {"result": {"bundle_digest": "d"}},
        {"result": {"internal": "run_started", "bundle_digest": "d"}, "effect": {"type": "x"}},
        {"result": {"internal": "run_started", "bundle_digest": 7, "labels": [], "sandbox": 1}},
        {"result": {"internal": "run_started", "signers": "k", "grants": [1], "keep_listeners": 1}},
    ],
    ids=["empty", "no result", "foreign", "an effect", "odd values", "odd lists"],
)
def test_foreign_and_odd_records_state_nothing(record):
    assert RunOrigin.of(record) == RunOrigin()
