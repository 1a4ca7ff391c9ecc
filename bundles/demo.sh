#!/bin/sh
# Shows the main job on the bundle release-approval: sign, run, stop, resume, inspect, verify, export.
# Everything it writes goes into a temporary directory, which is removed at the end.
# ART names the program: ART=.venv/bin/art sh bundles/demo.sh
set -u

ART=${ART:-art}
case $ART in
*/*) ART=$(CDPATH='' cd -- "$(dirname -- "$ART")" && pwd)/$(basename -- "$ART") ;;
esac
flow=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/release-approval

work=$(mktemp -d "${TMPDIR:-/tmp}/art-demo.XXXXXX") || exit 74
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 74

# Nothing of the caller's configuration takes part.
unset ART_OUTPUT ART_SIGNING_KEY ART_TRUST_STORE ART_DURABILITY ART_KEY_PASSPHRASE ART_KEY_PASSPHRASE_FILE
export ART_HOME="$work/store" ART_CONFIG_DIR="$work/config" ART_HOST_KEY=host

heading() {
    printf '\n== %s\n' "$1"
}

show_command() {
    printf '$ art'
    for word in "$@"; do
        case $word in
        *[!A-Za-z0-9@%+=:,./_-]* | '') printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
}

# expect CODE ARGS...: run `art ARGS`, and stop the demonstration unless it exits with CODE.
expect() {
    wanted=$1
    shift
    show_command "$@"
    "$ART" "$@" 2>&1
    code=$?
    if [ "$code" -ne "$wanted" ]; then
        printf '\ndemo: "art %s" exited with %s, expected %s\n' "$1" "$code" "$wanted" >&2
        exit 1
    fi
    if [ "$code" -ne 0 ]; then
        printf '[exit %s]\n' "$code"
    fi
}

heading '1. Two keys: one signs bundles, one signs the ledgers of this machine'
expect 0 key new release
expect 0 key new host --usage host

heading '2. Compile the flow into a signed bundle'
cp "$flow/flow.json" flow.json
expect 0 compile flow.json -o release.flowbundle --key release --version 1.0.0
expect 0 bundle show release.flowbundle
expect 0 bundle verify release.flowbundle

heading '3. Run it. It asks a question and stops: exit code 4, and no process stays behind'
expect 4 run release.flowbundle --run-id demo --input service=api --input version=2.1.0 \
    --input 'changes=["faster start", "new login page"]'
expect 0 runs

heading '4. Answer from another process. The run goes on where it stood'
expect 0 resume demo --input approve --as alice

heading '5. Look at what happened'
expect 0 inspect demo

heading '6. Verify the ledger, offline, with the public key only'
expect 0 ledger verify demo
cp "$ART_HOME/ledger_demo.jsonl" "$ART_HOME/heads_demo.jsonl" .
expect 0 ledger verify ledger_demo.jsonl --heads heads_demo.jsonl --vkey config/keys/host.vkey

heading '7. Change the recorded answer in a copy: "approve" becomes "reject"'
sed 's/"response":"approve"/"response":"reject"/' ledger_demo.jsonl >forged.jsonl
expect 1 ledger verify forged.jsonl --heads heads_demo.jsonl --vkey config/keys/host.vkey

heading '8. Take the whole story away as one document'
expect 0 export-history demo -o history.json

printf '\nDone. The flow and its description: bundles/release-approval. Next: docs/tutorials/first-run.md\n'
