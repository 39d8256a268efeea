# Sourced by the commands of this repository: . .ci/setup.sh EXTRAS
# Leaves the programs they need installed and .venv, with this project and those extras, first on PATH.

abc_torch="torch==2.13.0+cpu"
abc_torch_index="https://download.pytorch.org/whl/cpu"

abc_fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

# The first Python >= 3.11, or nothing.
abc_find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

# Debian packages that are missing, one a line.
abc_missing_packages() {
    local pair python version
    for pair in g++:g++ make:make perl:perl iverilog:iverilog git:git; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
    done
    # Not needed, but Verilator's own library is then compiled once, not for every design.
    if [ "$(id -u)" = 0 ] && ! command -v ccache >/dev/null; then
        echo ccache
    fi
    python="$(abc_find_python)"
    if [ -z "$python" ]; then
        printf '%s\n' python3 python3-venv
        return
    fi
    version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "python$version-venv"
    # Simulators load Python as a shared library, which Debian packs by itself.
    "$python" -c 'import ctypes, sysconfig; ctypes.CDLL(sysconfig.get_config_var("INSTSONAME"))' 2>/dev/null ||
        echo "libpython$version"
}

abc_install_packages() {
    local missing
    missing="$(abc_missing_packages | tr '\n' ' ')"
    [ -z "$missing" ] && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        abc_fail "some programs are missing; on Debian and Ubuntu: sudo apt-get install -y ${missing% }"
    fi
    echo "installing ${missing% }"
    apt-get update -qq || true
    # shellcheck disable=SC2086  # one word per package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        abc_fail "apt-get could not install ${missing% }"
    missing="$(abc_missing_packages | tr '\n' ' ')"
    [ -z "$missing" ] || abc_fail "missing after installation: ${missing% } (Python must be 3.11 or newer)"
}

abc_install_project() {
    local extras="$1" stamp=".venv/installed-$1" state
    state="$(cat pyproject.toml .ci/setup.sh | sha256sum) $PWD"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    echo "installing Python packages into .venv"
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        rm -rf .venv
        "$(abc_find_python)" -m venv .venv || abc_fail "could not create .venv"
    fi
    if ! nvidia-smi >/dev/null 2>&1; then
        # Without a GPU the build for CPUs does, which is a tenth of the other one's size.
        .venv/bin/python -m pip install -q --retries 1 --timeout 20 --extra-index-url "$abc_torch_index" \
            "$abc_torch" 2>/dev/null || echo "no $abc_torch to be had; taking the usual build"
    fi
    .venv/bin/python -m pip install -q -e ".[$extras]" || abc_fail "pip could not install the project"
    printf '%s\n' "$state" >"$stamp"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
unset PYTHONHOME PYTHONPATH
abc_install_packages
abc_install_project "$1"
VIRTUAL_ENV="$PWD/.venv"
PATH="$VIRTUAL_ENV/bin:$PATH"
export PATH VIRTUAL_ENV
