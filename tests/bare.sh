#!/usr/bin/env bash
# ./dev test --bare [DIR]: a fresh Debian 12 with git and certificates, a clone of this checkout in it, and there the
# README's two commands. DIR is kept and used again with a new clone; without it a temporary folder is removed at the end.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
say() { printf 'bare: %s\n' "$*" >&2; }

((EUID == 0)) || { say "debootstrap and chroot need root: sudo ./dev test --bare"; exit 2; }

# All mounts below live in a namespace of their own and vanish with it.
if [[ -z ${METALORA_BARE_INSIDE:-} ]]; then
    METALORA_BARE_INSIDE=1 exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$@"
fi

command -v debootstrap >/dev/null || { apt-get -qq update && apt-get -qq install -y debootstrap; } >&2
if [[ ${1:-} ]]; then
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
else
    dir=$(mktemp -d)
    chmod 755 "$dir"   # apt drops root to download
    trap 'umount "$dir/proc" 2>/dev/null; rm -rf --one-file-system "$dir"' EXIT
fi

if [[ ! -e $dir/etc/debian_version ]]; then
    # shellcheck disable=SC2016  # apt's own placeholder
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Codename: bookworm' | head -n 1)
    mirror=${mirror:-http://deb.debian.org/debian}
    say "debootstrap of Debian 12 from $mirror"
    debootstrap --variant=minbase --include=git,ca-certificates bookworm "$dir" "$mirror" >&2
    cp /etc/hosts "$dir/etc/hosts"
    # the machine's way to its mirror: proxies, and leniency about clocks
    apt-config dump | grep -iE '^Acquire::(https?::proxy|check)' >"$dir/etc/apt/apt.conf.d/99host" || true
fi
cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
mount -t proc proc "$dir/proc"

[[ -z $(git -C "$root" status --porcelain) ]] || say "only what is committed is cloned: this checkout has changes beside it"
rm -rf "$dir/srv/metalora"
git clone --quiet --no-hardlinks "$root" "$dir/srv/metalora"

within() {
    say "in the bare Debian: $*"
    chroot "$dir" env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        sh -c 'cd /srv/metalora && exec "$@"' sh "$@"
}
within ./dev run configs/quickstart.yaml
within ./dev test
say "both commands work on a bare Debian 12"
