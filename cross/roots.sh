# A Debian in a directory, for the scripts that try packages. Sourced after targets.sh and `know`, never run.
# shellcheck shell=bash disable=SC2154  # debian, emulator: of `know`

release=${DUNLIN_TEST_RELEASE:-bookworm}
# Debian's own unless given.
mirror=${DUNLIN_TEST_MIRROR:-}

# The kernel hands programs for other processors to qemu; F: found now, not in the chroot.
emulate() {
    local formats=/proc/sys/fs/binfmt_misc name=${emulator%-static}
    command -v "$emulator" >/dev/null ||
        fail "$emulator is missing; on Debian: apt-get install qemu-user-static"
    [[ -e $formats/register ]] || mount -t binfmt_misc binfmt_misc "$formats"
    [[ ! -e $formats/$name ]] || return 0
    local header='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    if [[ $debian == armhf ]]; then
        header='\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00'
    fi
    printf '%s' ":$name:M::$header:$mask:$(command -v "$emulator"):F" >"$formats/register"
}

# unpack_debian NAME DIR PACKAGES [FILES]: a new Debian for $debian with these packages besides the smallest
# set in DIR, which must not exist; kept under NAME for the next time. What lies in the directory FILES is
# there before packages are configured.
unpack_debian() {
    local name=$1 root=$2 packages=$3 files=${4:-} kept
    kept=$(built_in)/debian-roots/$release-$debian-$name.tar
    [[ $EUID -eq 0 ]] || fail 'must be root, for a chroot'
    command -v debootstrap >/dev/null || fail 'debootstrap is missing; on Debian: apt-get install debootstrap'
    if [[ -n $emulator ]]; then emulate; fi
    if [[ ! -e $kept ]]; then
        mkdir -p "$(dirname "$kept")"
        debootstrap --variant=minbase "--include=$packages" --arch="$debian" --foreign "$release" "$root" \
            ${mirror:+"$mirror"}
        [[ -z $files ]] || cp -r "$files/." "$root"
        chroot "$root" /debootstrap/debootstrap --second-stage
        tar --create --file "$kept.new" --directory "$root" --exclude=./dev --exclude=./proc \
            --exclude=./var/cache/apt . && mv "$kept.new" "$kept"
        rm -rf "$root"
    fi
    mkdir "$root"
    tar --extract --file "$kept" --directory "$root"
    mkdir -p "$root/dev" "$root/proc"
}

# packed: sets package and archive, the newest of cross/package.
packed() {
    local packages
    packages=$(built_in)/packages
    package=$(find "$packages" -name "dunlin_*_$debian.deb" | sort -V | tail -n 1)
    archive=$(find "$packages" -name "dunlin-*-$target.tar.gz" | sort -V | tail -n 1)
    [[ -n $package && -n $archive ]] || fail "no package; first: cross/build $target && cross/package $target"
}
