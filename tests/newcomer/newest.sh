#!/usr/bin/env bash
# Runs `make test` on the newest Python that Debian has, which is the one of a bare Debian 13. Requires root and
# debootstrap. The configuration of pip and the CA certificates are copied from this machine. With CI in the
# environment, hypothesis draws the same examples each time. One process at a time, as other tests run beside it, it
# takes six minutes.
set -euo pipefail
type debootstrap >/dev/null
root=$(mktemp -d /var/tmp/newcomer.XXXXXX)
trap 'rm -rf --one-file-system "$root"' EXIT

debootstrap --variant=minbase --include=python3,python3-venv,git,make,ca-certificates trixie "$root" >/dev/null
cp /etc/resolv.conf /etc/hosts "$root/etc/"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
git clone -q --no-local "$(dirname "$0")/../.." "$root/srv/fping-exporter"

# The mounts are in a mount namespace of the command, so that they end with it.
unshare --mount bash -ec 'mount -t proc proc "$0/proc"; mount -t tmpfs tmpfs "$0/dev/shm"
  mount -t devpts devpts "$0/dev/pts"
  exec chroot "$0" env -i CI=true PYTEST_XDIST_AUTO_NUM_WORKERS=1 HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    make -C /srv/fping-exporter test' "$root"
