#!/bin/sh
# Takes away what dockerd leaves in the network when it ends: its bridge, its chains in the packet filter, and, where it
# was what switched forwarding on, forwarding and the policy to drop what is forwarded.
# $1: the bridge that our engine made. $2: ip_forward as it was before.
set -eu
bridge="$1"
ip_forward="$2"

# Another engine in this network has the same bridge and chains: then they are not ours to take away.
for process in /proc/[0-9]*; do
  if [ "$(cat "$process/comm" 2>/dev/null)" = dockerd ] &&
    [ "$(readlink "$process/ns/net")" = "$(readlink /proc/self/ns/net)" ]; then
    echo "left as it is: dockerd runs as process ${process#/proc/}"
    exit 0
  fi
done

[ ! -e "/sys/class/net/$bridge" ] || ip link delete "$bridge" type bridge

policy='s/^:FORWARD DROP/:FORWARD ACCEPT/'
[ "$ip_forward" = 0 ] || policy=''
if iptables -n -L DOCKER >/dev/null 2>&1; then
  # All that is not Docker's is put back as it is, in one step.
  iptables-save | grep -v -E "^:DOCKER|^-A DOCKER|-j DOCKER|-[io] $bridge( |\$)|^-A POSTROUTING .*! -o $bridge " |
    sed "$policy" | iptables-restore
fi
echo "$ip_forward" >/proc/sys/net/ipv4/ip_forward
