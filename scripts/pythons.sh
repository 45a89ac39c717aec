# Finds the Pythons of this machine, and computes digests; sourced by other scripts.

# The versions for which locks/ has packages, newest first.
SUPPORTED="3.14 3.13 3.12 3.11"

# Prints the SHA-256 of standard input. macOS before version 15 has no sha256sum.
digest() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }

# Prints the path of a Python, given its path or a command's name. Fails if it is missing or not supported.
executable() {
    [ -n "$1" ] && "$1" -c '
import sys
version = "%d.%d" % sys.version_info[:2]
print(getattr(sys, "_base_executable", sys.executable))
sys.exit(version not in sys.argv[1].split())' "$SUPPORTED" 2>/dev/null
}

can_make_environments() { "$1" -c 'import ensurepip, ssl, venv' 2>/dev/null; }

# Prints the paths of all Pythons of one version: the system's, which is built with more optimisations than pyenv builds its own
# (a loop takes half the time), those on PATH, and those of pyenv, whose shims run only the version that is selected for the directory.
installed() {
    local candidate
    for candidate in "${SYSTEM_PYTHONS:-/usr/bin}/python$1" "python$1" python3 "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/"python$1"; do
        if candidate=$(SUPPORTED=$1 executable "$candidate"); then printf '%s\n' "$candidate"; fi
    done
}

# Prints the path of the newest Python among the given versions (default: all supported ones) that can create environments,
# or of the newest one that a package of the system can complete.
newest() {
    local version candidate incomplete=
    for version in ${*:-$SUPPORTED}; do
        while read -r candidate; do
            if can_make_environments "$candidate"; then printf '%s\n' "$candidate"; return; fi
            incomplete=${incomplete:-$candidate}
        done < <(installed "$version")
    done
    [ -n "$incomplete" ] && printf '%s\n' "$incomplete"
}
