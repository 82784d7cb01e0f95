#!/usr/bin/env bash
# Runs a command once for each rank of a job, on pretended hosts that links of a given rate join.
#   bench/lib/slow-network.sh HOSTS RANKS_PER_HOST RATE[+DELAYms] COMMAND...
# Needs root. RATE is written as for tc, 1gbit for instance; of 1gbit+20ms packets arrive 20 ms later, whichever host they go to, for
# which python3 is needed. A host is a process with a network, a /dev/shm and a name of its
# own; a bridge in a network of its own joins them, and nothing is added to this machine's network. Host h has the address
# 198.18.0.(h + 1), of the range that RFC 2544 keeps for benchmarks, and the ranks from h * RANKS_PER_HOST on.
#
#   host 0: eth0 ---veth--- port0 \
#                                  br0      each end sends at RATE, so that what comes from several hosts at once waits
#   host 1: eth0 ---veth--- port1 /         in the switch
#
# Hosts use CUBIC, Linux's own choice, whatever congestion control this machine has set: with BBR, which takes a connection down to
# four packets for 200 ms every ten seconds, a step that sends 93 MB at 100 Mbit/s takes a twentieth longer, ours as well as DDP's.
#
# With a delay delay.py stands between each port and the bridge:  eth0 ---veth--- port0 -delay.py- line0 ---veth--- end0 - br0
#
# The command finds torchrun's variables, and GLOO_SOCKET_IFNAME. Rank 0's standard output is this one's, that of the others
# goes to standard error. The exit status is the first that is not 0, by rank; 77 where this machine or user cannot have such
# networks, with a sentence that begins with "skipped:". Nothing is left, also after a signal.
set -euo pipefail
if (($# < 4)); then
  echo "usage: bench/lib/slow-network.sh HOSTS RANKS_PER_HOST RATE[+DELAYms] COMMAND..." >&2
  exit 64
fi
LIB="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
HOSTS=$1 RANKS_PER_HOST=$2 RATE=${3%%+*} DELAY=
if [[ $3 == *+* ]]; then
  DELAY=${3#*+} DELAY=${DELAY%ms}
fi
shift 3

# A segmentation-offload packet of 64 KiB must fit into the bucket; the queue is that of a small switch's port.
BUCKET=96kb QUEUE=1mb
CONGESTION_CONTROL=cubic

skip() { # WHY
  echo "skipped: $1" >&2
  exit 77
}

[ "$(id -u)" = 0 ] || skip "only root can make the networks of pretended hosts"
for tool in unshare nsenter ip tc ${DELAY:+python3}; do
  command -v "$tool" >/dev/null || skip "pretended hosts need the command $tool, which is not here"
done
if ! found=$(unshare --net --mount --uts sh -ec "mount -t tmpfs tmpfs /dev/shm; ip link add br0 type bridge
    ip link add eth0 type veth peer name port0; tc qdisc add dev eth0 root tbf rate 1gbit burst $BUCKET limit $QUEUE" 2>&1); then
  skip "no hosts can be pretended here: ${found//$'\n'/; }"
fi

started=() ranks=()

clean_up() {
  trap '' INT TERM
  for rank in "${ranks[@]}"; do kill -KILL -- "-$rank" 2>/dev/null || true; done # each leads its own process group
  for process in "${started[@]}"; do kill -KILL "$process" 2>/dev/null || true; done
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start COMMAND...: returns when it has said something; its process is the last one of $started
start() {
  exec {ready}< <(exec "$@")
  started+=($!)
  read -r -u "$ready" || exit 74
  exec {ready}<&-
}

start_host() { # leaves the process that holds the host in $host
  start unshare --net --mount --uts sh -c 'echo; exec sleep infinity'
  host=${started[-1]}
}

on() { # HOST COMMAND...
  local holder=$1
  shift
  nsenter --target "$holder" --net --mount --uts --wd -- "$@"
}

limit() { # HOST DEVICE
  on "$1" tc qdisc add dev "$2" root tbf rate "$RATE" burst "$BUCKET" limit "$QUEUE"
}

hosts=() lines=()
start_host
switch=$host
on "$switch" ip link add br0 type bridge
on "$switch" ip link set br0 up
for ((h = 0; h < HOSTS; h++)); do
  start_host
  hosts+=("$host")
  on "$host" hostname "host$h"
  on "$host" mount -t tmpfs tmpfs /dev/shm
  on "$host" ip link set lo up
  if ! on "$host" sh -c "echo $CONGESTION_CONTROL >/proc/sys/net/ipv4/tcp_congestion_control" 2>/dev/null; then
    echo "slow-network.sh: $CONGESTION_CONTROL cannot be set here; hosts keep this machine's congestion control" >&2
  fi
  on "$host" ip link add eth0 type veth peer name "port$h" netns "$switch"
  on "$host" ip address add "198.18.0.$((h + 1))/24" dev eth0
  on "$host" ip link set eth0 up
  on "$switch" ip link set "port$h" up
  if [ "$DELAY" ]; then
    on "$switch" ip link add "line$h" type veth peer name "end$h"
    on "$switch" ip link set "line$h" up
    on "$switch" ip link set "end$h" master br0 up
    lines+=("port$h:line$h")
  else
    on "$switch" ip link set "port$h" master br0
  fi
  limit "$host" eth0
  limit "$switch" "port$h"
done
[ -z "$DELAY" ] || start nsenter --target "$switch" --net -- python3 "$LIB/delay.py" "$DELAY" "${lines[@]}"

export WORLD_SIZE=$((HOSTS * RANKS_PER_HOST)) LOCAL_WORLD_SIZE=$RANKS_PER_HOST
export MASTER_ADDR=198.18.0.1 MASTER_PORT=29500 GLOO_SOCKET_IFNAME=eth0
set -m # a process group for each rank
for ((r = 0; r < WORLD_SIZE; r++)); do
  output=2
  ((r > 0)) || output=1
  RANK=$r LOCAL_RANK=$((r % RANKS_PER_HOST)) HOSTNAME="host$((r / RANKS_PER_HOST))" \
    on "${hosts[r / RANKS_PER_HOST]}" "$@" >&$output &
  ranks+=($!)
done

status=0
for rank in "${ranks[@]}"; do
  code=0
  wait "$rank" || code=$?
  [ "$status" != 0 ] || status=$code
done
ranks=()
exit "$status"
