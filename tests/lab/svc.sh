#!/bin/bash
# Takes single services away and gives them back, for tests of who can do without.
#
#   svc.sh stop|start NAME...     start waits until it answers
#   svc.sh pause|resume NAME...   a paused service accepts requests, answers none
#   svc.sh status
#
# The names are those that status prints.
set -euo pipefail
# shellcheck source=lib/common.sh
. "$(cd "$(dirname "$0")" && pwd)/lib/common.sh"

port() {
  case $1 in
    keystone) echo "$KEYSTONE_PORT" ;;
    glance) echo "$GLANCE_PORT" ;;
    placement) echo "$PLACEMENT_PORT" ;;
    neutron-server) echo "$NEUTRON_PORT" ;;
    nova-api) echo "$NOVA_PORT" ;;
    rabbitmq) echo "$AMQP_PORT" ;;
  esac
}
# It may listen before it has loaded what it is to answer with.
answers() {
  local line
  exec 3<>"/dev/tcp/$ADDR/$1"
  printf 'GET / HTTP/1.0\r\n\r\n' >&3
  read -r -t 60 line <&3 && [[ $line == HTTP/* ]]
}
signal() { local pid _; read -r pid _ <"$RUN/$2.pid"; kill "-$1" -- "-$pid"; }

[ "$(id -u)" = 0 ] || die "must be run as root"
command=${1:-}; shift || true
for name in "$@"; do
  [ -e "$RUN/$name.sh" ] || die "no such service: $name"
done
case $command in
  stop) STOP_SECONDS=${STOP_SECONDS:-2} stop "$@" ;;
  start)
    for name in "$@"; do running "$name" || launch "$name"; done
    for name in "$@"; do
      [ -n "$(port "$name")" ] || continue
      wait_port "$name" "$(port "$name")"
      [ "$name" = rabbitmq ] || answers "$(port "$name")" || die "$name does not answer, see $LOG"
    done ;;
  pause) for name in "$@"; do signal STOP "$name"; done ;;
  resume) for name in "$@"; do signal CONT "$name"; done ;;
  status)
    for file in "$RUN"/*.sh; do
      name=${file##*/}; name=${name%.sh}
      running "$name" && state=running || state=stopped
      printf '%-16s %s\n' "$name" "$state"
    done ;;
  *) sed -n '4,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
