#!/usr/bin/env bash
# Builds the container and runs the demo in it, as nobody and without capabilities. A bare Debian 13, which has
# the same version of Python, replaces the base image, so that no image is downloaded. Requires root,
# debootstrap, podman, runc and curl. The configuration of pip and the CA certificates are copied from this
# machine. It takes three minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
root=$(mktemp -d /var/tmp/newcomer.XXXXXX)
podman() {
  command podman --root "$root/images" --runroot "$root/run" --storage-driver vfs \
    --cgroup-manager cgroupfs --runtime runc "$@"
}
clean() {
  podman rm --force --all >/dev/null 2>&1 || true
  rm -rf --one-file-system "$root"
}
trap clean EXIT

step() { printf '\n--- %s (%d s)\n' "$*" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

step 'the base image'
base=$(sed -n 's/^FROM \(\S*\)$/\1/p' "$here/deploy/container/Containerfile")
debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates trixie "$root/base" >/dev/null
ln -s python3 "$root/base/usr/bin/python"
rm "$root"/base/usr/lib/python3*/EXTERNALLY-MANAGED
cp /etc/resolv.conf "$root/base/etc/"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/base/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/base/etc/ssl/certs/"
tar -C "$root/base" -c . | podman import - "$base" >/dev/null

step 'podman build'
podman build --format docker --isolation chroot --pull-never -f "$here/deploy/container/Containerfile" \
  -t fping-exporter "$here"

step 'podman run'
# Limits that even a root without CAP_SYS_RESOURCE may set.
podman run --detach --name demo --ulimit "nofile=$(ulimit -n):$(ulimit -Hn)" --ulimit nproc=1024:1024 \
  --network none --cap-drop all --read-only fping-exporter demo
inside() { podman exec demo /opt/fping-exporter/bin/python -c "$@"; }
for ((i = 0; i < 30; i++)); do
  podman healthcheck run demo && break
  sleep 1
done
podman healthcheck run demo || fail "$(podman logs demo)"
inside 'import os; assert (os.getuid(), os.getgid()) == (65534, 0), os.getuid()'
metrics=$(inside 'import urllib.request as r; print(r.urlopen("http://127.0.0.1:10605/metrics").read().decode())')
[ "$(grep -o '^instance_silent{.*reason="[a-z0-9_]*"' <<<"$metrics" | sed 's/.*reason=//' | sort -u | wc -l)" = 8 ] ||
  fail 'not every reason is there'
podman exec demo fping-exporter --version | grep '^fping-exporter 0' || fail 'not in PATH'
[ "$(podman exec demo /bin/sh -c pwd)" = /etc/fping-exporter ] || fail 'the configuration is looked for elsewhere'
podman stop --time 10 demo >/dev/null
[ "$(podman inspect --format '{{.State.ExitCode}}' demo)" = 0 ] || fail "$(podman logs demo)"
step 'it builds, runs and ends as it should'
