# What a long run must say at its end: everything that failed with its words, and why things were skipped. Whoever sees only
# the tail of the output (a CI job, a chat) sees what counts.
#
# `note_failures TITLE LOG CODE` and `note_skips LOG` read the output of one part; `report_notes` prints what was noted.
# Notes are kept in the directory $notes.

# A failure may bring no more than this; its part shows the rest.
most_lines=60

note_failures() {
    local title=$1 log=$2 code=$3 found
    found=$(
        # Rust's test runners list what failed between these lines; what a test panicked with stands where it ran.
        awk '/^failures:$/ { on = 1; next } /^test result: / { on = 0 } on && NF' "$log" | awk '!seen[$0]++'
        panics_of_failed "$log"
        # A shell suite's failed claims, with what the command said.
        awk '/^FAIL / { on = 1; print; next } on && /^       / { print; next } { on = 0 }' "$log"
        grep -E '^(error|warning: unused|Diff in |rig: the )' "$log" | head -12
    )
    [ "$code" -ne 0 ] || [ -n "$(grep -E '(^|[^0-9])[1-9][0-9]* failed' "$log")" ] || return 0
    {
        echo "--- $title (exit code $code)"
        if [ -n "$found" ]; then
            head -n $most_lines <<<"$found"
            [ "$(wc -l <<<"$found")" -le $most_lines ] || echo "… and $(($(wc -l <<<"$found") - most_lines)) lines more above"
        else
            echo "(said last:)"
            tail -n 20 "$log"
        fi
    } >>"$notes/failed"
}

# Prints the panics of tests that failed; a panic that a test expected is no news.
panics_of_failed() {
    awk '
        FNR == NR { if (/^failures:$/) on = 1; else if (/^test result: /) on = 0; else if (on && /^    [^ ]+$/) failed[$1] = 1; next }
        match($0, /^thread .[^ ]+. .*panicked at/) { split($0, part, "\x27"); left = (part[2] in failed) ? 6 : 0 }
        left-- > 0
    ' "$1" "$1"
}

note_skips() {
    sed -nE 's/^test .* ignored \((.*)\)$/\1/p; s/^skipped: (.*)$/\1/p' "$1" >>"$notes/skipped"
}

report_notes() {
    if [ -s "$notes/skipped" ]; then
        echo
        echo "==> skipped, and why"
        sort "$notes/skipped" | uniq -c | sort -rn | head -n 40
    fi
    if [ -s "$notes/failed" ]; then
        echo
        echo "==> failed"
        cat "$notes/failed"
    fi
}
