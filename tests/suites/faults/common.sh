# What the fault claims share: a keiki on a directory of its own, tools that are hidden or talk nonsense, refusals.
# Needs $work (a directory), $programs (where keiki is), and tests/lib/claims.sh.

# A yard: an lxcpath with a catalogue of its own.
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd

yard() {
    P=$work/$1/lxc
    export KEIKI_STATE=$work/$1/state
    mkdir -p "$P"
}
keiki() { "$programs/keiki" -P "$P" "$@"; }
names() { keiki ls --format csv | tail -n +2 | cut -d, -f1 | paste -sd' '; }
quiet() { "$@" >/dev/null 2>&1; }

# `refused CODE "text" COMMAND…`: the command fails with this exit code, says this, and gives a hint.
refused() {
    local want=$1 text=$2 output code=0
    shift 2
    output=$("$@" 2>&1) || code=$?
    [ $code -eq "$want" ] && grep -qF -- "$text" <<<"$output" && grep -q 'hint:' <<<"$output" && return
    echo "$output"
    echo "(exit code $code, expected $want with: $text, and a hint)"
    return 1
}

# `hidden "TOOL…" COMMAND…`: the command finds none of the tools. `babbling` runs it with tools that answer nonsense and
# succeed. Only the command's own mount namespace knows: the machine keeps its tools.
hidden() {
    local tools=$1
    shift
    printf 'nobody may run this\n' >"$work/nothing" && chmod 644 "$work/nothing"
    in_place_of "$work/nothing" "$tools" "$@"
}
babbling() {
    local tools=$1
    shift
    printf '#!/bin/sh\necho "%s"\n' '<html>504 Gateway {{ ,, 0x' >"$work/babble" && chmod 755 "$work/babble"
    in_place_of "$work/babble" "$tools" "$@"
}
in_place_of() {
    local what=$1 tools=$2 places
    shift 2
    # shellcheck disable=SC2086
    places=$(for tool in $tools; do for place in /usr/sbin /usr/bin /sbin /bin; do [ ! -e $place/$tool ] || readlink -f $place/$tool; done; done | sort -u)
    [ -n "$places" ] || { echo "there is no $tools here to hide"; return 1; }
    # The catalogue's directory travels by the environment, the rest as arguments.
    unshare -m --propagation private bash -c '
        what=$1 keiki=$2 lxcpath=$3; shift 3
        for place in '"$(echo $places)"'; do mount --bind "$what" "$place" || exit 97; done
        exec "$keiki" -P "$lxcpath" "$@"' in_place_of "$what" "$programs/keiki" "$P" "$@"
}

# What a container holds in the file that tells it from others.
mark_of() { keiki run "$1" -- /bin/sh -c 'cat /mark'; }
has_mark() { local found; found=$(mark_of "$1" 2>&1); [ "$found" = "$2" ] || { echo "found: $found"; return 1; }; }
marked() { keiki create "$1" --template busybox "${@:2}" && keiki run "$1" -- /bin/sh -c "echo 'of $1' > /mark; sync"; }

# The same where the exit code may be one of several.
refused_any() {
    local text=$1 output code=0
    shift
    output=$("$@" 2>&1) || code=$?
    [ $code -ne 0 ] && [ $code -lt 97 ] && grep -qF -- "$text" <<<"$output" && grep -q 'hint:' <<<"$output" && return
    echo "$output"
    echo "(exit code $code, expected a refusal with: $text, and a hint)"
    return 1
}
fails_with_any() {
    local output code=0
    output=$("$@" 2>&1) || code=$?
    [ $code -ne 0 ] && [ $code -lt 97 ] && return
    echo "$output"
    echo "(exit code $code)"
    return 1
}
