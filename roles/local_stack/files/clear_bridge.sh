#!/bin/sh
# Removes the interfaces of containers whose engine was killed from the engine's bridge. They still answer for addresses
# that a new engine gives to its own containers, and connections to those time out.
# Ends with 1 and the reason if an engine, or containers without one, still use the bridge.
# $1: the bridge. $2: `same` if the new engine has the former one's data: it then takes over the containers itself.
set -eu
bridge="$1"

. "$(dirname "$0")/processes.sh"

engines="$(processes dockerd)"
containers="$(processes containerd-shim)"
ports="$(ip -o link show master "$bridge" 2>/dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/')"

if [ "${2-}" = same ] && [ -n "$engines$containers" ]; then exit 0; fi
if [ -n "$engines" ]; then
  echo "Docker's engine runs as process$engines, but does not answer" >&2
  exit 1
fi
[ -n "$ports" ] || exit 0
if [ -n "$containers" ]; then
  echo "containers of an engine that ended still run, on the bridge $bridge, as processes$containers" >&2
  exit 1
fi
for port in $ports; do
  # The kernel may remove it at the same time.
  ip link delete "$port" || [ ! -e "/sys/class/net/$port" ]
  echo "removed: $port"
done
