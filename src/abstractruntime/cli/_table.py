"""Every command of the tool, as data: name, where it lives, what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One command; `target` is `module:function` below this package."""

    target: str
    help: str
    examples: tuple[str, ...] = ()

    @property
    def epilog(self) -> str:
        shown = "".join(f"\n\n  {example}" for example in self.examples)
        return f"\b\nExamples:{shown}" if shown else ""


@dataclass(frozen=True, slots=True)
class Group:
    help: str
    entries: Mapping[str, Entry | Group]
    epilog: str = ""


_VERIFY = Entry(
    "ledger:verify",
    "Say whether a ledger is what it claims to be; offline, executes nothing.",
    (
        "art ledger verify @last",
        "art ledger verify ledger_r1.jsonl --heads heads_r1.jsonl --vkey host.vkey",
        "art ledger verify --all --require-signed",
    ),
)

_LEDGER = Group(
    "Read and verify ledgers.",
    {
        "verify": _VERIFY,
        "show": Entry(
            "ledger:show", "Show the records of a ledger.", ("art ledger show @last --jsonl",)
        ),
        "tail": Entry(
            "ledger:tail", "Show the last records of a ledger.", ("art ledger tail @last -n 5",)
        ),
    },
)

_BUNDLE = Group(
    "Look into, verify and sign bundles.",
    {
        "show": Entry(
            "bundle:show", "Show what a bundle holds.", ("art bundle show X.flowbundle",)
        ),
        "verify": Entry(
            "bundle:verify",
            "Say whether a bundle is intact and whom it is signed by.",
            ("art bundle verify X.flowbundle", "art bundle verify X.flowbundle --vkey acme.vkey"),
        ),
        "unpack": Entry(
            "bundle:unpack",
            "Write the files of a verified bundle into a new directory.",
            ("art bundle unpack X.flowbundle -o X/",),
        ),
        "sign": Entry(
            "bundle:sign",
            "Add a signature; the digest of the bundle stays the same.",
            ("art bundle sign X.flowbundle --key release",),
        ),
    },
)

_KEY = Group(
    "Make keys and decide whom to trust.",
    {
        "new": Entry(
            "keys:new",
            "Make a key pair on this machine, and trust it.",
            ("art key new release", "art key new ci-host --usage host"),
        ),
        "list": Entry("keys:list_", "List own and trusted keys.", ("art key list --json",)),
        "show": Entry(
            "keys:show", "Show one key, with its public line.", ("art key show release",)
        ),
        "trust": Entry(
            "keys:trust",
            "Trust someone's public key.",
            ("art key trust acme.vkey --bundle 'acme-*'", "art key trust host.vkey --usage host"),
        ),
        "revoke": Entry(
            "keys:revoke",
            "Stop trusting a key, for good.",
            ("art key revoke release --reason 'laptop lost'",),
        ),
    },
)

COMMANDS = Group(
    "Durable workflows in one directory: compile, run, stop, resume, prove.",
    {
        "compile": Entry(
            "compile:compile_",
            "Compile flow documents into a bundle.",
            (
                "art compile flow.json -o review.flowbundle --key release",
                "art compile flows/ --entry review --unsigned -o review.flowbundle",
            ),
        ),
        "run": Entry(
            "run:run",
            "Run a bundle or a flow until it ends or waits.",
            (
                "art run review.flowbundle --input amount=12 --input note='as agreed'",
                "art run flow.json --input @input.json --json",
            ),
        ),
        "resume": Entry(
            "resume:resume",
            "Answer what a run waits for, and go on.",
            (
                "art resume @last --input 'yes, ship it' --as alice",
                'art resume 3f2a --input \'{"response": "yes"}\' --wait-key KEY',
                "art resume @last --approve",
            ),
        ),
        "tick": Entry(
            "tick:tick",
            "Go on with runs whose timer is due or that were interrupted.",
            ("art tick --due", "art tick @last"),
        ),
        "inspect": Entry(
            "inspect:inspect_",
            "Show where a run stands and how it came there.",
            ("art inspect @last", "art inspect 3f2a --step 12"),
        ),
        "runs": Entry(
            "runs:runs", "List runs.", ("art runs --status waiting", "art runs --label team=ops")
        ),
        "ledger": _LEDGER,
        "verify-chain": _VERIFY,
        "export-history": Entry(
            "export:export_history",
            "Write a run with its records and children as one document.",
            ("art export-history @last -o history.json",),
        ),
        "bundle": _BUNDLE,
        "key": _KEY,
        "check": Entry(
            "flow:check",
            "Find every problem of flow documents.",
            ("art check flow.json", "art check flows/*.json --format github"),
        ),
        "schema": Entry("reference:schema", "Print a published JSON Schema.", ("art schema run",)),
        "explain": Entry(
            "reference:explain",
            "Explain a diagnostic, a node type or the exit codes.",
            ("art explain VF301", "art explain node switch", "art explain exit-codes"),
        ),
        "show": Entry(
            "show:show",
            "Show whatever a name stands for: a run, bundle, flow or ledger.",
            ("art show @last", "art show review.flowbundle"),
        ),
        "config": Group(
            "Look at the configuration.",
            {
                "show": Entry(
                    "config:show",
                    "Show every setting in force.",
                    ("art config show --origin",),
                )
            },
        ),
        "doctor": Entry(
            "doctor:doctor",
            "Look for trouble in the installation, the keys and the store; changes nothing.",
            ("art doctor",),
        ),
    },
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 refused, 4 waiting, 5 cancelled, 66 not found,"
    " 70 internal, 74 io, 75 busy; see: art explain exit-codes",
)
