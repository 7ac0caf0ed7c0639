# Claims of a shell suite: `claim "text" COMMAND…` runs the command and counts; `finish_claims` prints the counts.

claims_passed=0 claims_failed=0

claim() {
    local text=$1 output code=0
    shift
    output=$("$@" 2>&1) || code=$?
    if [ $code -eq 0 ]; then
        echo "ok   $text"
        claims_passed=$((claims_passed + 1))
    else
        echo "FAIL $text (exit code $code): $*"
        echo "$output" | sed 's/^/       /'
        claims_failed=$((claims_failed + 1))
    fi
}

# Succeeds when the command fails with exactly this exit code.
fails_with() {
    local want=$1 code=0
    shift
    "$@" || code=$?
    [ $code -eq "$want" ] || { echo "exit code $code, expected $want"; return 1; }
}

# Succeeds when the command's output holds a text.
says() {
    local want=$1 output
    shift
    output=$("$@" 2>&1)
    grep -qF -- "$want" <<<"$output" || { echo "$output"; echo "(does not say: $want)"; return 1; }
}

finish_claims() {
    echo "$claims_passed passed, $claims_failed failed"
    [ $claims_failed -eq 0 ]
}
