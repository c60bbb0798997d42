# Shared by the scripts that start test servers; each sets $name and sources this.
#
# A server is installed once, into $CINDERBLOCK_DEPS/servers/NAME (default: ~/.cache/cinderblock-build/servers/NAME), and gets
# that name when it is whole: an installation that was interrupted is never taken for one.

# fail WORD...: says why, and leaves nothing running that was started.
fail() {
    echo "tools/servers/$name: $*" >&2
    [ -z "${dir:-}" ] || stop_all
    exit 1
}

home=${CINDERBLOCK_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/cinderblock-build}/servers/$name

# installed KEY: whether what KEY describes is there.
installed() { [ "$(cat "$home/made-of" 2>/dev/null)" = "$1" ]; }

# keep WORK KEY: gives a finished installation its name. Of two at once, the second drops its own.
keep() {
    echo "$2" >"$1/made-of"
    rm -rf "$home"
    mv -T "$1" "$home" 2>/dev/null || [ -e "$home/made-of" ] || fail "cannot write $home"
}

# install_python KEY PACKAGE...: a virtual environment with these packages.
install_python() {
    made_of=$1
    shift
    if installed "$made_of"; then return; fi
    mkdir -p "$home.part.$$" || fail "cannot write $home"
    trap 'rm -rf "$home.part.$$"' EXIT
    echo "tools/servers/$name: installing $* (once)" >&2
    python3 -m venv "$home.part.$$" >"$home.part.$$/log" 2>&1 || fail "python3 -m venv failed (on Debian: apt-get install python3-venv)"
    "$home.part.$$/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --retries 1 --timeout 30 "$@" \
        >"$home.part.$$/log" 2>&1 || fail "pip install $* failed: $(grep -E '^ERROR|rror:' "$home.part.$$/log" | tail -n 1)"
    keep "$home.part.$$" "$made_of"
    trap - EXIT
}

# free_ports N [FIRST]: N ports of loopback that nobody listens on, from FIRST on or any.
free_ports() {
    python3 - "$@" <<'PYTHON'
import socket, sys
count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else 0
held, found, port = [], [], first
while len(found) < count:
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", port))
        held.append(s)
        found.append(s.getsockname()[1])
    except OSError:
        s.close()
    port += 1 if first else 0
print(*found)
PYTHON
}

# wait_for SECONDS PID COMMAND...: until the command succeeds. Fails when the time is over or the process has gone.
wait_for() {
    seconds=$1 pid=$2
    shift 2
    deadline=$(($(date +%s) + seconds))
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || fail "the server has ended; see $dir/log: $(tail -n 1 "$dir/log")"
        [ "$(date +%s)" -lt "$deadline" ] || fail "no answer after $seconds s; see $dir/log"
        sleep 0.2
    done
}

# stop_all: ends what pids below the folder name, and waits for that.
stop_all() {
    for file in "$dir"/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || true
        tries=0
        while kill -0 "$pid" 2>/dev/null; do
            tries=$((tries + 1))
            [ $tries -lt 50 ] || kill -9 "$pid" 2>/dev/null || true
            sleep 0.1
        done
        rm -f "$file"
    done
}

usage() { fail "use: tools/servers/$name ${use:-start DIR [PORT] | stop DIR}"; }
