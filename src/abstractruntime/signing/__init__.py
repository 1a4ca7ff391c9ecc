"""Keys, signatures, trust, and the verdict over a ledger: bytes in, verdict out.

Nothing here knows a run, a store or a flow. Modules: `keys` (Ed25519 key pairs and C2SP
verifier keys), `envelope` (DSSE and in-toto), `note` and `heads` (signed heads of ledgers),
`trust` (who may vouch for what), `verdict` (is this ledger what it claims to be). Names load on
first use.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "record_checks": "Defect",
        "heads": "BadHead HeadStack SignedHead read_heads run_origin sign_head",
        "keys": "KeyEntry SigningKey VerifierKey generate list_keys load_signing_key load_vkey"
        " parse_vkey save_signing_key",
        "note": "TreeHead",
        "trust": "TrustedKey TrustPolicy TrustStore load_trust save_trust",
        "verdict": "LedgerVerdict verify_ledger",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
