# What a type checker sees of this package; at run time its names load on first use.

from abstractruntime.signing.heads import (
    BadHead,
    HeadStack,
    SignedHead,
    read_heads,
    run_origin,
    sign_head,
)
from abstractruntime.signing.keys import (
    KeyEntry,
    SigningKey,
    VerifierKey,
    generate,
    list_keys,
    load_signing_key,
    load_vkey,
    parse_vkey,
    save_signing_key,
)
from abstractruntime.signing.note import (
    TreeHead,
)
from abstractruntime.signing.record_checks import (
    Defect,
)
from abstractruntime.signing.trust import (
    TrustedKey,
    TrustPolicy,
    TrustStore,
    load_trust,
    save_trust,
)
from abstractruntime.signing.verdict import (
    LedgerVerdict,
    verify_ledger,
)

__all__ = [
    "BadHead",
    "Defect",
    "HeadStack",
    "KeyEntry",
    "LedgerVerdict",
    "SignedHead",
    "SigningKey",
    "TreeHead",
    "TrustPolicy",
    "TrustStore",
    "TrustedKey",
    "VerifierKey",
    "generate",
    "list_keys",
    "load_signing_key",
    "load_trust",
    "load_vkey",
    "parse_vkey",
    "read_heads",
    "run_origin",
    "save_signing_key",
    "save_trust",
    "sign_head",
    "verify_ledger",
]
