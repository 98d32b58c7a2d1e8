#!/usr/bin/env bash
# Have a Docker engine with the base image in it, and print its DOCKER_HOST: the one of DOCKER_HOST, or else one of the
# tests' own, brought up here (root on Debian or Ubuntu). A second run finds everything there.
set -euo pipefail

directory=/var/lib/epilstm-engine
base="${BASE_IMAGE:-python:3.11-slim-bookworm}"
export DOCKER_HOST="${DOCKER_HOST:-unix://$directory/docker.sock}"

fail() {
    echo "error: $*" >&2
    exit 1
}

install_engine() {
    local missing=()
    command -v dockerd >/dev/null || missing+=(docker.io containerd iptables)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    ((${#missing[@]} == 0)) && return
    command -v apt-get >/dev/null || fail "no dockerd here and no apt-get to install one with"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

start_engine() {
    mkdir -p "$directory"
    # Where the process itself may not lower its OOM score, neither may a container: ask for no less than nothing.
    cat >"$directory/runc-without-oom-score" <<'RUNC'
#!/usr/bin/python3
import json, os, sys

arguments = sys.argv[1:]
if "create" in arguments or "run" in arguments:
    bundle = next((arguments[i + 1] for i, word in enumerate(arguments[:-1]) if word in ("--bundle", "-b")), ".")
    path = os.path.join(bundle, "config.json")
    config = json.load(open(path))
    if config.get("process", {}).get("oomScoreAdj", 0) < 0:
        config["process"]["oomScoreAdj"] = 0
        json.dump(config, open(path, "w"))
os.execvp("runc", ["runc", *arguments])
RUNC
    chmod +x "$directory/runc-without-oom-score"
    setsid nohup dockerd --data-root "$directory/root" --exec-root "$directory/exec" --pidfile "$directory/docker.pid" \
        --host "$DOCKER_HOST" --add-runtime "lenient=$directory/runc-without-oom-score" --default-runtime lenient \
        </dev/null >"$directory/dockerd.log" 2>&1 &
    for _ in $(seq 300); do
        docker info >/dev/null 2>&1 && return
        sleep 0.1
    done
    tail -n 5 "$directory/dockerd.log" >&2
    fail "dockerd did not start; its log is $directory/dockerd.log"
}

# Where the registry is out of reach: Debian and its Python under the official image's name. Good for tests only: it
# carries this machine's certificates and pip settings.
make_base_image() {
    local root
    root="$(mktemp -d)"
    chmod 755 "$root"
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$root" \
        >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; fail "debootstrap failed"; }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    [ ! -f /etc/pip.conf ] || install -m 644 /etc/pip.conf "$root/etc/pip.conf"
    rm -f "$root/usr/lib/python3.11/EXTERNALLY-MANAGED"
    ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
    tar -C "$root" --numeric-owner --exclude='./proc/*' --exclude='./sys/*' -c . |
        docker import --change 'CMD ["python3"]' --change 'ENV LANG=C.UTF-8' \
            --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$base" >/dev/null
    rm -rf "$root" "$root.log"
}

if ! docker info >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || fail "only root can bring up a container engine"
    install_engine
    docker info >/dev/null 2>&1 || start_engine
fi
if ! docker image inspect "$base" >/dev/null 2>&1 && ! timeout 300 docker pull -q "$base" >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || fail "$base can neither be pulled nor, without root, be made here"
    install_engine
    make_base_image
fi
echo "DOCKER_HOST=$DOCKER_HOST"
