#!/usr/bin/env bash
# Tests the role of deploy/ansible within the Debian that bare.sh boots: with ansible-core, from wheels, on this host. The
# cloud is the tests' stand-in; there is no network but loopback.
set -eEuo pipefail
export HOME=/home/root ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_LOCALHOST_WARNING=false
cd ~/fping-exporter/deploy/ansible
url=http://127.0.0.1:10605 etc=/etc/fping-exporter
wheel=$(echo /srv/wheels/fping_exporter-*.whl) broken=~/broken/$(basename "$wheel")

trap 'printf "FAILED, lines %s: %s\n" "$LINENO ${BASH_LINENO[*]}" "$BASH_COMMAND" >&2
  tail -60 ~/ansible.log; journalctl --no-pager -n 30 -u fping-exporter -u cloud' ERR

step() { printf '\n--- %s (%d s)\n' "$*" "$SECONDS"; }
has() { [ "$(systemctl show -P "$1" fping-exporter)" = "$2" ]; }           # PROPERTY VALUE
says() { grep -e "$2" <<<"$(curl -sf "${@:3}" "$url$1" || true)" >/dev/null; } # PATH PATTERN [CURL-OPTION...]
logged() { grep -e "$1" ~/ansible.log >/dev/null; }                        # PATTERN
pid() { systemctl show -P MainPID fping-exporter; }
soon() { for _ in {1..50}; do if "$@"; then return; fi; sleep 0.2; done; "$@"; }
play() { # ARGUMENT...: of ansible-playbook
  /opt/ansible/bin/ansible-playbook -i ~/inventory.yml "$@" single.yml >~/ansible.log 2>&1
}
changes_nothing() { play "$@" && logged ' changed=0 .* failed=0 ' && ! logged 'rescued=[1-9]'; }
goes_back() { # ARGUMENT...: the role fails, and what was there before is there again
  local before; before=$(state)
  if play "$@"; then return 1; fi
  [ "$before" = "$(state)" ] && soon says /metrics '^instance_alive{id="near".* 1.0'
}
state() { readlink /opt/fping-exporter; (cd /etc && find fping-exporter systemd/system/fping-exporter.service* -type f \
  -printf '%p %m %u %g ' -exec sha256sum {} \;) | sort; }

step 'a stand-in for the cloud, a version that does not start, an inventory'
cp -a /opt/fping-exporter /opt/cloud
mkdir -p ~/.config/openstack ~/broken
systemd-run --quiet --unit=cloud --service-type=notify --working-directory="$HOME/fping-exporter" \
  /opt/cloud/bin/python -m tests.newcomer.cloud ~/.config/openstack/clouds.yaml localhost some-network
python3 - "$wheel" "$broken" <<'END'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as source, zipfile.ZipFile(sys.argv[2], "w") as target:
    for name in source.namelist():
        text = source.read(name)
        if name == "fping_exporter/cli/serve.py":
            text += b"\ndef run_server(*_args, **_settings):\n    raise SystemExit('this version is broken')\n"
        target.writestr(name, text)
END
cat >~/inventory.yml <<END
fping_exporter:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: /usr/bin/python3
  vars:
    fping_exporter_package: $wheel
    fping_exporter_lock: "{{ playbook_dir }}/../../requirements.lock"
    fping_exporter_pip_arguments: [--no-index, --find-links=/srv/wheels]
    fping_exporter_system_packages: []
    fping_exporter_clouds: "{{ lookup('file', '~/.config/openstack/clouds.yaml') | from_yaml }}"
    fping_exporter_config: {cache: {sweep: 1s}}
    fping_exporter_prometheus_host: localhost
    fping_exporter_ready_timeout: 30
END

step 'credentials that do not work, on a host without the service: none is left'
useless=(-e '{"fping_exporter_clouds": {"clouds": {"x": {"auth": {"auth_url": "http://127.0.0.1:1/v3", "username": "u",
  "password": "not-for-the-log", "project_name": "p", "user_domain_id": "d", "project_domain_id": "d"}}}},
  "fping_exporter_ready_timeout": 6}')
play "${useless[@]}" && false
logged 'Wait until the exporter is ready: .* in use again: by-hand'
[ ! -e /etc/systemd/system/fping-exporter.service ]; [ ! -e $etc/clouds.yaml ]; has ActiveState inactive

step 'an exporter for the whole cloud'
play
says /metrics '^instance_alive{id="near".* 1.0'
has UnitFileState enabled; has CapabilityBoundingSet cap_net_raw
[ "$(stat -c '%a %U' $etc/clouds.yaml)" = '600 root' ]
grep -F 'localhost:10605' /etc/prometheus/file_sd/fping-exporter-localhost.yml >/dev/null
fping-exporter --version
[ -e /usr/local/share/man/man1/fping-exporter.1 ] && bash -n /usr/local/share/bash-completion/completions/fping-exporter
logged application_credential_secret && false
logged "$(grep -o 'password: .*' ~/.config/openstack/clouds.yaml)" && false

step 'again: nothing changes'
first=$(pid)
changes_nothing
changes_nothing --check
[ "$(pid)" = "$first" ]

step 'another configuration is loaded without a restart'
play -e '{"fping_exporter_config": {"probe": {"per_address": true}}}'
soon says /config 'per_address: true'
[ "$(pid)" = "$first" ]
play && soon says /config 'per_address: false'

step 'a bad configuration is refused'
goes_back -e '{"fping_exporter_config": {"probe": {"per_adress": true}}}'
logged 'fping-exporter.yml: .*did you mean .*per_address'
[ "$(pid)" = "$first" ]

step 'a version that does not start'
goes_back -e "fping_exporter_package=$broken"
logged 'The former version and configuration are in use again: fping_exporter-.* this version is broken'

step 'credentials with which it does not become ready'
goes_back "${useless[@]}"
logged not-for-the-log && false
changes_nothing

step 'a central'
sign() { # NAME
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -extfile <(echo "subjectAltName=DNS:$1") -out "$1.pem"
}
mkdir ~/tls && cd ~/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -keyout ca.key -out ca.pem 2>/dev/null
sign localhost 2>/dev/null; sign kvm-1.example 2>/dev/null
cd - >/dev/null
central=(-e fping_exporter_mode=central -e "fping_exporter_ca_file=$HOME/tls/ca.pem"
  -e "fping_exporter_cert_file=$HOME/tls/localhost.pem" -e "fping_exporter_key_file=$HOME/tls/localhost.key")
agent=(--cacert ~/tls/ca.pem --cert ~/tls/kvm-1.example.pem --key ~/tls/kvm-1.example.key)
play "${central[@]}"
changes_nothing "${central[@]}"
[ "$(stat -c '%a %G' $etc/central.key)" = '640 fping-exporter-keys' ]
url=https://localhost:10605
says /metrics '^instance_alive{id="near".* 1.0' --cacert ~/tls/ca.pem
curl -sf -o /dev/null "${agent[@]}" "$url/v1/inventory?host=kvm-1.example"
curl -sf -o /dev/null --cacert ~/tls/ca.pem "$url/v1/inventory?host=kvm-1.example" && false

step 'an agent in its place, of a copy of the central'
cp -a $etc ~/central && sed -i "s|$etc|$HOME/central|" ~/central/web.yml
systemd-run --quiet --unit=central --service-type=notify -E HOME=/ -E OS_CLIENT_CONFIG_FILE="$HOME/central/clouds.yaml" \
  /opt/cloud/bin/python -m fping_exporter --config.file="$HOME/central/fping-exporter.yml" \
  --web.config.file="$HOME/central/web.yml" --web.listen-address=localhost:10606
url=http://127.0.0.1:10607
agent=(-e fping_exporter_mode=agent -e '{"fping_exporter_centrals": ["https://localhost:10606"]}'
  -e fping_exporter_listen_address=127.0.0.1:10607 -e "fping_exporter_ca_file=$HOME/tls/ca.pem"
  -e "fping_exporter_cert_file=$HOME/tls/kvm-1.example.pem" -e "fping_exporter_key_file=$HOME/tls/kvm-1.example.key")
play "${agent[@]}" -e '{"fping_exporter_config": {"inventory": {"host": "kvm-1.example"}}}'
has CapabilityBoundingSet 'cap_net_raw cap_sys_admin'
[ ! -e $etc/clouds.yaml ]
agent+=(-e '{"fping_exporter_config": {"inventory": {"host": "kvm-1.example"}, "probe": {"vantages": ["local"]}}}')
play "${agent[@]}"
changes_nothing "${agent[@]}"
has CapabilityBoundingSet cap_net_raw
says /metrics '^instance_alive{id="near".* 1.0'
ls /opt/fping-exporter-versions
