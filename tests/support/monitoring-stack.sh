#!/usr/bin/env bash
# Have the programs of Prometheus, its Pushgateway and its Alertmanager, and print the folder they are in: the one given,
# filled from Debian's packages if it does not hold them. The packages are unpacked, not installed, so that no service is
# started. Only root can put Alertmanager's templates where it looks for them. A second run finds everything there.
set -euo pipefail

folder="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/epilstm-monitoring}"
programs=(prometheus promtool prometheus-pushgateway prometheus-alertmanager amtool)
packages=(prometheus prometheus-pushgateway prometheus-alertmanager)
# Compiled into Debian's Alertmanager.
templates=/usr/share/prometheus/alertmanager

complete() {
    local program
    for program in "${programs[@]}"; do
        [ -x "$folder/usr/bin/$program" ] || return 1
    done
}

if ! complete; then
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
        echo "error: no apt-get here to get Prometheus with; put ${programs[*]} on the PATH" >&2
        exit 1
    }
    fresh="$(mktemp -d)"
    trap 'rm -rf "$fresh"' EXIT
    chmod 755 "$fresh"
    (
        cd "$fresh"
        apt-get download -qq "${packages[@]}" >/dev/null 2>"$fresh/log" ||
            { apt-get update -qq && apt-get download -qq "${packages[@]}"; } >/dev/null 2>"$fresh/log" ||
            { tail -n 5 "$fresh/log" >&2; exit 1; }
    )
    mkdir -p "$folder"
    for package in "$fresh"/*.deb; do
        dpkg -x "$package" "$folder"
    done
    complete || { echo "error: the packages lack one of ${programs[*]}" >&2; exit 1; }
fi
if [ ! -e "$templates/default.tmpl" ]; then
    mkdir -p "$templates" && cp "$folder$templates"/*.tmpl "$templates" || {
        echo "error: Alertmanager does not start without $templates, which only root can make" >&2
        exit 1
    }
fi
echo "$folder/usr/bin"
