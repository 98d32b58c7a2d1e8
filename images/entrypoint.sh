#!/bin/sh
# The arguments are a command where they name one (Kubernetes puts it in our place, docker appends it to us), and
# epilstm's arguments otherwise.
case "${1:-}" in
    sh | bash | /*) exec "$@" ;;
esac
if [ -n "${1:-}" ] && [ -x "/opt/epilstm/bin/$1" ]; then
    exec "$@"
fi
exec epilstm "$@"
