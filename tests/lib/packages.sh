# Debian packages that a script needs: installs what is missing, says so, and takes it away again.
#
# Source it, then call `need_packages NAME…`, and `restore_packages` at the end (from a trap). What was installed
# before stays; what came in with ours goes, exactly that, unless KEIKI_KEEP_PACKAGES=1 (or CI=true) is set.
# Nothing here touches the C toolchain or Rust once they are there.

packages_added=()

# Prints the packages that are installed now, one a line, sorted.
installed_packages() {
    dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | awk '$1 == "ii" { print $2 }' | sort
}

need_packages() {
    local missing=() name before
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q '^ii' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "==> installing Debian packages: ${missing[*]}"
    before=$(installed_packages)
    apt-get update -qq || { echo "error: cannot read Debian's package lists" >&2; return 9; }
    # No recommendations: lxc, for one, would pull in a bridge and a firewall.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || {
        echo "error: cannot install ${missing[*]}" >&2
        return 9
    }
    mapfile -t -O ${#packages_added[@]} packages_added < <(comm -13 <(echo "$before") <(installed_packages))
}

restore_packages() {
    [ ${#packages_added[@]} -eq 0 ] && return 0
    if [ "${KEIKI_KEEP_PACKAGES:-${CI:+1}}" = 1 ]; then
        echo "==> keeping the installed packages; remove them with: apt-get purge ${packages_added[*]}"
        return 0
    fi
    echo "==> removing the packages that were installed: ${packages_added[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq "${packages_added[@]}" >/dev/null
    packages_added=()
}

# Finds cargo, also where rustup puts it for a user whose PATH does not know yet.
need_rust() {
    command -v cargo >/dev/null && return 0
    [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH" && return 0
    echo "error: cargo is not here" >&2
    echo "hint: install Rust 1.89 or later from https://rustup.rs" >&2
    return 9
}

need_root() {
    [ "$(id -u)" = 0 ] && return 0
    echo "error: $1 needs root: it mounts, and starts containers" >&2
    echo "hint: run it as \`sudo -E $0\`" >&2
    return 8
}
