#!/usr/bin/env bash
# The README's steps on a bare Debian 12: make demo and make test, by root and by a user without the right to
# ping, then the installation, which is booted to test the systemd unit, and again to test the role for Ansible.
# Requires root, debootstrap, curl, systemd-nspawn (of systemd-container) and port 10605. The configuration of pip
# and the CA certificates are copied from this machine. It takes a quarter of an hour.
set -euo pipefail
type debootstrap curl systemd-nspawn >/dev/null
root=$(mktemp -d /var/tmp/newcomer.XXXXXX) && chmod 755 "$root"
url=http://127.0.0.1:10605 demo=

clean() {
  [ -z "$demo" ] || kill "$demo" 2>/dev/null || true
  rm -rf --one-file-system "$root"
}
trap clean EXIT

step() { printf '\n--- %s (%d s)\n' "$*" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# The mounts are in a mount namespace of the command, so that they end with it.
inside() { # USER COMMAND: takes this shell's place, so that $! is the command's process
  exec unshare --mount bash -ec 'mount -t proc proc "$0/proc"; mount -t tmpfs tmpfs "$0/dev/shm"
    mount -t devpts devpts "$0/dev/pts"
    exec chroot --userspec="$1" "$0" env -i HOME="/home/$1" LANG=C.UTF-8 \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      bash -ec "cd && $2"' "$root" "$@"
}

shows_the_scene() { # USER COMMAND: the demo that this starts has a silent guest for each of the eight reasons
  inside "$1" "exec $2" & demo=$!
  curl -s --retry 60 --retry-delay 2 --retry-connrefused -f -o /dev/null $url/-/ready
  [ "$(curl -sf $url/metrics | grep -o '^instance_silent{.*reason="[a-z0-9_]*"' | sed 's/.*reason=//' | sort -u | wc -l)" = 8 ] ||
    fail 'not every reason is there'
  curl -sf $url/ | grep 'selenium-0' >/dev/null || fail 'the page lacks selenium-0'
  curl -sf -o /dev/null $url/static/style.css
  kill "$demo" && { wait "$demo" || true; } && demo=
}

# The systemd of the new tree starts in its own cgroup and network, runs the file, and exits with its exit code.
# This machine need not run systemd, and may use cgroups v1 or v2.
booted() { # FILE
  unshare --mount bash -ec 'mount -t tmpfs tmpfs /run; mount -t cgroup2 cgroup2 /sys/fs/cgroup
    group=$(mktemp -d /sys/fs/cgroup/newcomer.XXXXXX)
    trap "find $group -depth -type d -delete" EXIT
    (echo "$BASHPID" >"$group/cgroup.procs"
      exec systemd-nspawn --quiet --directory="$0" --boot --private-network --register=no --keep-unit \
        --console=read-only systemd.show_status=no "systemd.run=$1")' "$root" "$1"
}

step 'a bare Debian with what the README asks for, and systemd'
debootstrap --variant=minbase --include=python3,git,make,ca-certificates,systemd-sysv,dbus,iproute2,curl \
  bookworm "$root" >/dev/null
cp /etc/resolv.conf /etc/hosts "$root/etc/"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
for user in root alice; do
  [ $user = root ] || chroot "$root" useradd --create-home $user
  git clone -q --no-local "$(dirname "$0")/../.." "$root/home/$user/fping-exporter"
  chroot "$root" chown -R $user: /home/$user
done

step 'make demo, as root'; shows_the_scene root 'make -C fping-exporter demo'
step 'make demo, without the right to ping'
output=$(inside alice 'make -C fping-exporter demo' 2>&1) && fail 'it pings'
grep 'setcap cap_net_raw.*net.ipv4.ping_group_range' <<<"$output" || fail "$output"
step 'make test, without the right to ping'; (inside alice 'make -C fping-exporter test')
step 'make test and make check, as root'; (inside root 'make -C fping-exporter test check')
step 'the installation'
(inside root 'python3 -m venv /opt/fping-exporter && /opt/fping-exporter/bin/pip install -q ./fping-exporter')
(inside alice 'PATH=/opt/fping-exporter/bin:$PATH
  fping-exporter --version; python -m fping_exporter --version
  export OS_AUTH_URL=http://127.0.0.1:1/v3 OS_USERNAME=a OS_PASSWORD=b OS_PROJECT_NAME=c
  fping-exporter print config >sample.yml; cmp sample.yml fping-exporter/deploy/fping-exporter.yml
  fping-exporter --config.check --config.file=sample.yml')
shows_the_scene root '/opt/fping-exporter/bin/fping-exporter demo'
step 'the systemd way'; booted /home/root/fping-exporter/tests/newcomer/systemd.sh
step 'the Ansible way: what it needs, ansible-lint, and the wheels'
(inside root 'rm -rf /etc/fping-exporter /etc/central /var/lib/private/{fping-exporter,central} /usr/local/bin/fping-exporter \
    /etc/systemd/system/{fping-exporter,central}* /etc/systemd/system/multi-user.target.wants/fping-exporter.service
  sed -i "/cloud.example/d" /etc/hosts
  python3 -m venv /opt/ansible && cd fping-exporter
  /opt/ansible/bin/pip install -q --require-hashes -r tests/newcomer/ansible.lock
  /opt/ansible/bin/pip wheel -q --no-deps -w /srv/wheels .
  /opt/ansible/bin/pip download -q --require-hashes -r requirements.lock -d /srv/wheels
  cd deploy/ansible && PATH=/opt/ansible/bin:$PATH ansible-lint --offline')
step 'the Ansible way'; booted /home/root/fping-exporter/tests/newcomer/ansible.sh
step 'all as the README says'
