#!/usr/bin/env bash
# Tests the systemd unit within the Debian that bare.sh boots: it is installed as its head says. The cloud is
# the tests' stand-in; there is no network but loopback.
set -eEuo pipefail
export HOME=/home/root
cd ~/fping-exporter
unit=deploy/systemd/fping-exporter.service
config=/etc/fping-exporter/fping-exporter.yml
drop_ins=/etc/systemd/system/fping-exporter.service.d
url=http://127.0.0.1:10605
network=$(cat /proc/sys/kernel/random/uuid) namespace=qdhcp-$network

trap 'printf "FAILED, lines %s: %s\n" "$LINENO ${BASH_LINENO[*]}" "$BASH_COMMAND" >&2
  journalctl --no-pager -n 30 -u fping-exporter -u cloud' ERR

step() { printf '\n--- %s (%d s)\n' "$*" "$SECONDS"; }
is() { [ "$(systemctl show -P "$1" fping-exporter)" = "$2" ]; }          # PROPERTY VALUE
says() { grep -e "$2" <<<"$(curl -sf "$url$1" || true)" >/dev/null; }    # PATH PATTERN
logs() { grep -e "$1" <<<"$(journalctl -u fping-exporter)" >/dev/null; } # PATTERN
soon() { for _ in {1..50}; do if "$@"; then return; fi; sleep 0.2; done; "$@"; }
drop_in() { # NAME, and the file on standard input
  mkdir -p "$drop_ins"; cat >"$drop_ins/$1.conf"
  systemctl daemon-reload; systemctl restart fping-exporter
}
open_namespace() { # with the guest, in a namespace of its own, as its neighbour
  ip netns add "$namespace"; ip netns add guest
  ip -n "$namespace" link add tap type veth peer name eth0 address fa:16:3e:00:00:01 netns guest
  ip -n "$namespace" address add 10.0.0.2/24 dev tap; ip -n "$namespace" link set tap up
  ip -n guest address add 10.0.0.5/24 dev eth0; ip -n guest link set eth0 up
}
close_namespace() { ip netns delete "$namespace"; ip netns delete guest; }

systemctl start dbus.socket # as on a machine that boots as usual
echo '127.0.0.1 cloud.example' >>/etc/hosts
mkdir -p ~/.config/openstack
systemd-run --quiet --unit=cloud --service-type=notify --working-directory="$PWD" \
  /opt/fping-exporter/bin/python -m tests.newcomer.cloud ~/.config/openstack/clouds.yaml cloud.example "$network"

step 'the steps at the head of the unit'
sed -n '/python3 -m venv/d; s/^#   //p' $unit | bash -ex
says /metrics '^instance_alive{id="near".* 1.0' # at once: the unit is active only when the exporter is ready
says /metrics '^process_start_time_seconds'
is CapabilityBoundingSet cap_net_raw
systemd-analyze security --no-pager --threshold=20 fping-exporter.service | tail -1

step "the runbook's commands, by the service's eyes"
reads() { # EXIT-CODE PATTERN COMMAND...: of the output
  local expected=$1 pattern=$2 code=0 output
  output=$("${@:3}" 2>&1) || code=$?
  [ "$code" = "$expected" ] && grep -e "$pattern" <<<"$output" >/dev/null || { echo "exit code $code: $output"; false; }
}
command -v fping-exporter | grep -Fx /usr/local/bin/fping-exporter
reads 4 '^near .* ACTIVE  *yes' fping-exporter list
reads 4 '^tenant .* ACTIVE  *- .*no_vantage' fping-exporter list --silent
reads 4 '"alive":true' fping-exporter list --json
reads 0 'fping-exporter.yml: the configuration is right' fping-exporter --config.check
OS_CLOUD=another OS_AUTH_URL=http://127.0.0.1:1 reads 4 '^near .* ACTIVE  *yes' fping-exporter list
reads 0 'fping-exporter 0' fping-exporter --version

step 'a good configuration, and a bad one'
sed -i 's/per_address: false/per_address: true/' $config
systemctl reload fping-exporter
soon says /config 'per_address: true'
sed -i 's/per_address:/per_adress:/' $config
systemctl reload fping-exporter && false
soon says /metrics '^fping_exporter_config_last_reload_successful 0.0'
soon logs 'fping-exporter: .* did you mean "per_address"' # the check says it too
says /config 'per_address: true'
is NRestarts 0

step 'stopped, and not started with the bad one'
systemctl stop fping-exporter
is Result success; is ExecMainStatus 0
systemctl start fping-exporter && false
sleep 6 # longer than RestartSec
is SubState failed; is ExecMainStatus 2; is NRestarts 0
sed -i 's/per_adress:/per_address:/' $config
systemctl start fping-exporter
soon logs 'of an earlier process are used'
[ "$(stat -Lc %a /var/lib/fping-exporter/state.jsonl.gz)" = 600 ]

step 'the watchdog'
drop_in watchdog <<<$'[Service]\nWatchdogSec=2s\nRestartSec=1s'
sleep 4
is NRestarts 0
kill -STOP "$(systemctl show -P MainPID fping-exporter)"
soon is NRestarts 1
soon says /metrics '^instance_address_alive{address="::1",id="near".* 1.0'
soon logs "Failed with result 'watchdog'"
rm "$drop_ins/watchdog.conf"

step 'namespaces; every system call that is not permitted is deadly from here on'
open_namespace
sed -i 's/vantages: \[local\]/vantages: [local, qdhcp]/; s/sweep: 15s/sweep: 1s/' $config
drop_in strict <<<$'[Service]\nSystemCallErrorNumber=kill'
says /metrics '^instance_alive{id="tenant"' && false
soon logs 'no vantage but local .* needs the capability CAP_SYS_ADMIN'
drop_in namespaces <deploy/systemd/namespaces.conf
soon says /metrics '^instance_alive{id="tenant".* 1.0'
reads 0 '^tenant .* ACTIVE  *yes' fping-exporter list
close_namespace
soon says /metrics '^fping_exporter_vantages{vantage="qdhcp"} 0.0'
open_namespace
soon says /metrics '^instance_alive{id="tenant".* 1.0'

step 'TLS'
groupadd --system ssl-cert
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=exporter \
  -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null
install -m 0640 -g ssl-cert cert.pem key.pem /etc/fping-exporter/
echo 'tls_server_config: {cert_file: cert.pem, key_file: key.pem}' >/etc/fping-exporter/web.yml
drop_in tls <<EOF
[Service]
SupplementaryGroups=ssl-cert
ExecStart=
$(grep ^ExecStart= $unit) --web.config.file=/etc/fping-exporter/web.yml
EOF
curl -sf -o /dev/null --cacert cert.pem https://127.0.0.1:10605/-/healthy
systemctl reload fping-exporter
systemctl stop fping-exporter
is Result success; is ExecMainStatus 0; is NRestarts 0

step 'an agent and a central, as deploy/fleet.md has them'
block() { sed -n "/^$1/,/^\`\`\`/{/^\`\`\`/!p}" deploy/fleet.md; } # the one that begins so
certificate() { # NAME SUBJECT-ALTERNATIVE-NAME
  openssl req -x509 -CA ca.pem -CAkey ca.key -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
    -addext "subjectAltName=$2" -addext basicConstraints=critical,CA:FALSE -keyout "$1.key" -out "$1.pem" 2>/dev/null
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca \
  -keyout ca.key -out ca.pem 2>/dev/null
certificate central IP:127.0.0.1; certificate agent DNS:kvm-1.example
hostname kvm-1.example # the guests' host
rm -r "$drop_ins" /etc/fping-exporter/clouds.yaml /var/lib/private/fping-exporter
{
  block inventory: | sed 's|"https://central-1[^]]*|"https://127.0.0.1:10606"|; s/\[ovnmeta\]/[local, qdhcp]/'
  echo 'cache: {inventory: 5s, sweep: 1s}'
} >$config
mkdir "$drop_ins"; printf '[Service]\nSystemCallErrorNumber=kill\n' >"$drop_ins/strict.conf"
block groupadd | bash -ex
says /metrics '^fping_exporter_inventory_success 0.0'
is Environment HOME=/nonexistent # nothing of OpenStack
tr '\0' '\n' <"/proc/$(systemctl show -P MainPID fping-exporter)/environ" | grep -e ^OS_ -e ^CREDENTIALS && false

mkdir /etc/central # the files as shipped, but for what one machine cannot have twice
for file in $unit deploy/systemd/central.conf; do
  sed 's|/etc/fping-exporter/|/etc/central/|g; s|^StateDirectory=.*|StateDirectory=central|
    s|^ExecStart=/.*|& --web.listen-address=127.0.0.1:10606|' "$file" >"/etc/central/${file##*/}"
done
install -D -m 0644 /etc/central/fping-exporter.service /etc/systemd/system/central.service
install -D -m 0644 -t /etc/systemd/system/central.service.d /etc/central/central.conf
sed 's/inventory: 60s/inventory: 5s/; s/^agents: false/agents: {match_san: true}/' deploy/fping-exporter.yml \
  >/etc/central/fping-exporter.yml
block tls_server_config: >/etc/central/web.yml
install -m 0600 ~/.config/openstack/clouds.yaml /etc/central/
install -m 0644 ca.pem central.pem /etc/central/
install -m 0640 -g fping-exporter-keys central.key /etc/central/
systemctl daemon-reload; systemctl start central
asks() { curl -s --cacert ca.pem "${@:2}" "https://127.0.0.1:10606/v1/inventory?host=$1"; } # HOST CURL-OPTIONS
gets() { asks kvm-1 --cert agent.pem --key agent.key | grep -e '"near"' >/dev/null; }
soon gets
asks kvm-2 --cert agent.pem --key agent.key | grep -F 'does not name the host "kvm-2"'
asks kvm-1 && false
soon soon says /metrics '^instance_alive{id="near".* 1.0' # it pauses ever longer while no central answers
soon says /metrics '^instance_alive{id="tenant".* 1.0'
reads 0 '^tenant .* ACTIVE  *yes' fping-exporter list
systemctl reload central; systemctl reload fping-exporter
systemctl stop central; systemctl restart fping-exporter
soon says /metrics '^instance_alive{id="near".* 1.0' # of the list that it has stored
systemctl stop fping-exporter
is Result success; is ExecMainStatus 0
[ "$(systemctl show -P Result central)" = success ]
