"""Every command of the tool, as data: name, where it lives, what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CliCommand:
    """One command; `target` is `module:function` below this package.

    Attributes:
        exits: What its exit codes mean, where that is special to it.
    """

    target: str
    help: str
    examples: tuple[str, ...] = ()
    exits: str = ""

    @property
    def epilog(self) -> str:
        shown = "".join(f"\n\n  {example}" for example in self.examples)
        examples = f"\b\nExamples:{shown}" if shown else ""
        exits = f"Exit codes: {self.exits}" if self.exits else ""
        return "\n\n".join(part for part in (examples, exits) if part)


@dataclass(frozen=True, slots=True)
class Group:
    help: str
    entries: Mapping[str, CliCommand | Group]
    epilog: str = ""


_VERIFY = CliCommand(
    "verify:verify",
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
        "show": CliCommand(
            "ledger:show", "Show the records of a ledger.", ("art ledger show @last --jsonl",)
        ),
        "tail": CliCommand(
            "ledger:tail",
            "Show the last records of a ledger, and those that come.",
            ("art ledger tail @last -n 5", "art ledger tail 3f2a -f --jsonl"),
        ),
    },
)

_BUNDLE = Group(
    "Look into, verify and sign bundles.",
    {
        "show": CliCommand(
            "bundle:show", "Show what a bundle holds.", ("art bundle show X.flowbundle",)
        ),
        "verify": CliCommand(
            "bundle:verify",
            "Say whether a bundle is intact and whom it is signed by.",
            ("art bundle verify X.flowbundle", "art bundle verify X.flowbundle --vkey acme.vkey"),
        ),
        "unpack": CliCommand(
            "bundle:unpack",
            "Write the files of a verified bundle into a new directory.",
            ("art bundle unpack X.flowbundle -o X/",),
        ),
        "sign": CliCommand(
            "bundle:sign",
            "Add a signature; the digest of the bundle stays the same.",
            ("art bundle sign X.flowbundle --key release",),
            exits="3 when the key is revoked, retired, or for something else",
        ),
    },
)

_SNAPSHOT = Group(
    "Keep named copies of runs, and put runs back to them.",
    {
        "create": CliCommand(
            "snapshot:create",
            "Keep a copy of a run under a name.",
            ("art snapshot create @last --name before-release --tag ops",),
        ),
        "list": CliCommand("snapshot:list_", "List snapshots.", ("art snapshot list @last",)),
        "restore": CliCommand(
            "snapshot:restore",
            "Put a waiting or finished run back to a snapshot.",
            ("art snapshot restore 5d0c",),
        ),
    },
)

_KEY = Group(
    "Make keys and decide whom to trust.",
    {
        "new": CliCommand(
            "keys:new",
            "Make a key pair on this machine, and trust it.",
            ("art key new release", "art key new ci-host --usage host"),
        ),
        "list": CliCommand("keys:list_", "List own and trusted keys.", ("art key list --json",)),
        "show": CliCommand(
            "keys:show", "Show one key, with its public line.", ("art key show release",)
        ),
        "trust": CliCommand(
            "keys:trust",
            "Trust someone's public key.",
            ("art key trust acme.vkey --bundle 'acme-*'", "art key trust host.vkey --usage host"),
        ),
        "import": CliCommand(
            "key_import:import_",
            "Take a key that was made elsewhere, and trust it.",
            (
                "art key import acme.vkey --bundle 'acme-*'",
                "art key import old-machine/release.pem",
                "art key import key.pem --name example.org/release",
            ),
        ),
        "revoke": CliCommand(
            "keys:revoke",
            "Stop trusting a key, for good; or retire it.",
            (
                "art key revoke release --reason 'laptop lost'",
                "art key revoke host-2025 --retire --reason 'replaced by host-2026'",
            ),
        ),
    },
)

COMMANDS = Group(
    "Durable workflows in one directory: compile, run, stop, resume, prove.",
    {
        "compile": CliCommand(
            "compile:compile_",
            "Compile flow documents into a bundle.",
            (
                "art compile flow.json -o review.flowbundle --key release",
                "art compile flows/ --entry review --unsigned -o review.flowbundle",
            ),
            exits="1 when a flow has errors, 3 when the key is revoked, retired, or for something else",
        ),
        "run": CliCommand(
            "run:run",
            "Run a bundle or a flow until it ends or waits.",
            (
                "art run review.flowbundle --input amount=12 --input note='as agreed'",
                "art run flow.json --input @input.json --json",
            ),
        ),
        "resume": CliCommand(
            "resume:resume",
            "Answer what a run waits for, and go on.",
            (
                "art resume @last --input 'yes, ship it' --as alice",
                'art resume 3f2a --input \'{"response": "yes"}\' --wait-key KEY',
                "art resume @last --approve",
            ),
        ),
        "tick": CliCommand(
            "tick:tick",
            "Go on with runs whose timer is due or that were interrupted.",
            ("art tick --due", "art tick @last"),
            exits="of one run as for art run; with --due that of the first run that could not go on, else 0",
        ),
        "serve": CliCommand(
            "serve:serve",
            "Drive whatever can go on in a store, until stopped.",
            ("art serve", "art serve --jsonl --poll 5", "art serve --once"),
            exits="143 or 130 when SIGTERM or SIGINT ended it, 75 when the store is served already; with --once that of the first run that could not go on",
        ),
        "stub-llm": CliCommand(
            "stub_llm:serve",
            "Answer model calls from a file, as an endpoint on this machine.",
            ("art stub-llm answers.json --port 8089",),
            exits="130 or 143 when SIGINT or SIGTERM ended it, 74 when the port is taken",
        ),
        "emit": CliCommand(
            "emit:emit",
            "Hand an event to the runs that wait for it.",
            (
                'art emit approved --run @last --payload \'{"by": "alice"}\'',
                "art emit deploy --global --payload @build.json --event-id build-1742",
                "art emit approved --session 3f2a --drive",
            ),
            exits="0 also when nobody listens; else that of the first listener that could not be reached or driven",
        ),
        "cancel": CliCommand(
            "control:cancel",
            "Cancel a run and everything below it.",
            ("art cancel @last --reason 'no longer needed'",),
            exits="0 when cancelled, when its owner was asked to, and when it has ended already; `outcome` tells which",
        ),
        "pause": CliCommand(
            "control:pause",
            "Let a run and everything below it rest.",
            ("art pause 3f2a --reason 'freeze until Monday'",),
            exits="0 also when there was nothing to pause, and when its owner was asked to",
        ),
        "unpause": CliCommand(
            "control:unpause",
            "Let a paused run go on.",
            ("art unpause 3f2a && art tick 3f2a",),
            exits="0 also when it was not paused",
        ),
        "limits": CliCommand(
            "limits:limits",
            "Show what a run uses of its limits, or let it use more.",
            ("art limits @last", "art limits 3f2a steps=200000 && art tick 3f2a"),
            exits="0 also when nothing changed",
        ),
        "inspect": CliCommand(
            "inspect:inspect_",
            "Show where a run stands and how it came there.",
            ("art inspect @last", "art inspect 3f2a --step 12"),
        ),
        "runs": CliCommand(
            "runs:runs", "List runs.", ("art runs --status waiting", "art runs --label team=ops")
        ),
        "ledger": _LEDGER,
        "verify-chain": _VERIFY,
        "export-history": CliCommand(
            "export:export_history",
            "Write a run with its records and children as one document.",
            ("art export-history @last -o history.json",),
        ),
        "bundle": _BUNDLE,
        "key": _KEY,
        "check": CliCommand(
            "flow:check",
            "Find every problem of flow documents.",
            (
                "art check flow.json",
                "art check flows/ --format github --fail-on warning",
                "art check flows/ --ignore VF501",
            ),
            exits="0 no errors, 1 an error, or with --fail-on warning a warning; 66 a file or directory without flows",
        ),
        "fmt": CliCommand(
            "author:fmt",
            "Write flow documents in their normal form.",
            ("art fmt flow.json", "art fmt flows/ --check", "art fmt - < flow.json"),
        ),
        "diff": CliCommand(
            "author:diff",
            "Say what changed between two flows, apart from how they are drawn.",
            ("art diff old.json new.json", "art diff v1.flowbundle v2.flowbundle --json"),
        ),
        "graph": CliCommand(
            "graph:graph",
            "Draw a flow, or how far a run of it came.",
            (
                "art graph flow.json",
                "art graph @last --format svg -o run.svg",
                "art graph review.flowbundle --format mermaid",
            ),
        ),
        "test": CliCommand(
            "flow_tests:run_cases",
            "Run the cases of flows, in memory and without a network.",
            (
                "art test bundles/release-approval",
                "art test flow.json --filter approved --junit report.xml",
                "art test flow.json --save-from @last",
            ),
        ),
        "schema": CliCommand(
            "reference:schema", "Print a published JSON Schema.", ("art schema run",)
        ),
        "explain": CliCommand(
            "reference:explain",
            "Explain a diagnostic, a node type or the exit codes.",
            ("art explain VF301", "art explain node switch", "art explain exit-codes"),
        ),
        "show": CliCommand(
            "show:show",
            "Show whatever a name stands for: a run, bundle, flow or ledger.",
            ("art show @last", "art show review.flowbundle"),
        ),
        "config": Group(
            "Look at the configuration.",
            {
                "show": CliCommand(
                    "config:show",
                    "Show every setting in force.",
                    ("art config show --origin",),
                )
            },
        ),
        "snapshot": _SNAPSHOT,
        "gc": CliCommand(
            "gc:gc",
            "Remove what no run of a store needs.",
            ("art gc", "art gc --grace 30 --apply", "art gc --purge 3f2a --apply"),
        ),
        "doctor": CliCommand(
            "doctor:doctor",
            "Look for trouble in the installation, the keys and the store; changes nothing.",
            ("art doctor",),
            exits="1 when something is wrong; warnings alone are 0",
        ),
        "repair": CliCommand(
            "repair:repair",
            "Mend the files of a run, as far as its ledger allows.",
            ("art repair 3f2a", "art repair 3f2a --apply"),
            exits="1 when something is wrong that it cannot mend, 75 when somebody drives the run",
        ),
    },
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 refused, 4 waiting, 5 cancelled, 66 not found,"
    " 70 internal, 74 io, 75 busy; see: art explain exit-codes",
)
