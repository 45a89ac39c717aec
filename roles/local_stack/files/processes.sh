# Sourced by the scripts beside it.

# Prints the processes with a name that are in this network, each after a space. The kernel keeps 15 characters of a name.
processes() {
  for process in /proc/[0-9]*; do
    # A process that has ended has no network.
    if [ "$(cat "$process/comm" 2>/dev/null)" = "$1" ] &&
      [ "$(readlink "$process/ns/net")" = "$(readlink /proc/self/ns/net)" ]; then
      printf ' %s' "${process#/proc/}"
    fi
  done
}
