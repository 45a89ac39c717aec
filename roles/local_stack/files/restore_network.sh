#!/bin/sh
# Removes what dockerd leaves in the network when it ends: its bridge, its chains in the packet filter, and, if it turned
# on IP forwarding, the forwarding and the policy that drops forwarded packets.
# $1: the bridge that our engine created. $2: the former value of ip_forward.
set -eu
bridge="$1"
ip_forward="$2"
. "$(dirname "$0")/processes.sh"

# Another engine in this network uses the same bridge and chains, so they must stay.
engines="$(processes dockerd)"
if [ -n "$engines" ]; then
  echo "left as it is: dockerd runs as process$engines"
  exit 0
fi

[ ! -e "/sys/class/net/$bridge" ] || ip link delete "$bridge" type bridge

policy='s/^:FORWARD DROP/:FORWARD ACCEPT/'
[ "$ip_forward" = 0 ] || policy=''
if iptables -n -L DOCKER >/dev/null 2>&1; then
  # Rules that are not Docker's are restored unchanged, in one step.
  iptables-save | grep -v -E "^:DOCKER|^-A DOCKER|-j DOCKER|-[io] $bridge( |\$)|^-A POSTROUTING .*! -o $bridge " |
    sed "$policy" | iptables-restore
fi
echo "$ip_forward" >/proc/sys/net/ipv4/ip_forward
