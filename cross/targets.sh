# What cross/build and the other scripts know of each target. Sourced, never run.
# shellcheck shell=bash disable=SC2034  # the scripts that source this use the variables

targets=(
    x86_64-unknown-linux-gnu
    x86_64-unknown-linux-musl
    aarch64-unknown-linux-gnu
    aarch64-unknown-linux-musl
    armv7-unknown-linux-gnueabihf
)

# The newest glibc that a shipped binary may ask for: Debian 11, and Raspberry Pi OS of that age. Whoever
# knows that all devices are newer may say so.
glibc_max=${DUNLIN_GLIBC_MAX:-2.31}

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# know TARGET: sets cc, cc_package, debian (its architecture there), machine (as readelf calls it),
# emulator and sysroot (empty where this machine runs the binary itself).
know() {
    target=$1
    emulator='' sysroot=''
    case $target in
        x86_64-*)
            debian=amd64 machine='X86-64' cc=gcc cc_package='gcc libc6-dev'
            [[ $(uname -m) == x86_64 ]] || emulator=qemu-x86_64-static
            ;;
        aarch64-*)
            debian=arm64 machine=AArch64
            cc=aarch64-linux-gnu-gcc cc_package='gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
            [[ $(uname -m) == aarch64 ]] || emulator=qemu-aarch64-static sysroot=/usr/aarch64-linux-gnu
            ;;
        armv7-*)
            debian=armhf machine=ARM
            cc=arm-linux-gnueabihf-gcc cc_package='gcc-arm-linux-gnueabihf libc6-dev-armhf-cross'
            emulator=qemu-arm-static sysroot=/usr/arm-linux-gnueabihf
            ;;
    esac
    case " ${targets[*]} " in
        *" $target "*) ;;
        *) fail "unknown target '$target'; known are: ${targets[*]}" ;;
    esac
    # musl is linked in: nothing to be found at run time, no C library of Debian's to build against.
    if [[ $target == *-musl ]]; then
        sysroot=''
        cc='' cc_package=''
        if [[ $target == x86_64-* ]]; then cc=musl-gcc cc_package=musl-tools; fi
    fi
}

# choose_compiler PROFILE: checks the tools and sets `build` and `test`, cargo commands for $target.
#
# zig is a C compiler and linker for every target, and links against the glibc it is told; Debian's
# compilers link against Debian's own, which is too new for older devices. Tests run here alone. musl
# and a linker for it come with Rust: only SQLite's and ring's C needs a compiler there.
choose_compiler() {
    command -v cargo >/dev/null || fail 'cargo is missing; see https://rustup.rs'
    command -v readelf >/dev/null || fail 'readelf is missing; on Debian: apt-get install binutils'
    [[ -d $(rustc --print target-libdir --target "$target") ]] ||
        fail "this toolchain lacks the target; type: rustup target add $target"
    local zig='pipx install cargo-zigbuild (or: cargo install cargo-zigbuild, and zig)'
    local under=${target//-/_} with_zig=''
    if command -v cargo-zigbuild >/dev/null; then
        with_zig=yes
        # pipx keeps zig out of sight, where only this Python finds it.
        local python
        python=$(dirname "$(readlink -f "$(command -v cargo-zigbuild)")")/python
        if ! command -v zig >/dev/null && [[ -x $python ]]; then
            export CARGO_ZIGBUILD_PYTHON_PATH=${CARGO_ZIGBUILD_PYTHON_PATH:-$python}
        fi
    fi
    build=(cargo build --locked --target "$target")
    test=(cargo test --locked --target "$target")
    if [[ $target == *-musl ]]; then
        # Not zig's: its C library takes and writes all the memory that is only asked for, 20 MB more at rest.
        export "CARGO_TARGET_${under^^}_LINKER=rust-lld"
    elif [[ -n $with_zig && $1 != dev ]]; then
        build=(cargo-zigbuild zigbuild --locked --target "$target.$glibc_max")
        test=(cargo-zigbuild test --locked --target "$target.$glibc_max")
        return
    fi
    # The C compiler serves SQLite and ring; for glibc it links, too.
    if [[ -n $cc ]] && command -v "$cc" >/dev/null; then
        export "CC_$under=$cc"
    elif [[ $target == *-musl && -n $with_zig ]]; then
        local tools tool
        tools=$(built_in)/zig
        mkdir -p "$tools"
        for tool in cc ar; do
            local options=''
            if [[ $tool == cc ]]; then options="-target ${target%%-*}-linux-musl"; fi
            printf '#!/bin/sh\nexec cargo-zigbuild zig %s -- %s "$@"\n' "$tool" "$options" >"$tools/$tool-$target"
            chmod +x "$tools/$tool-$target"
        done
        export "CC_$under=$tools/cc-$target" "AR_$under=$tools/ar-$target"
    elif [[ -n $cc ]]; then
        fail "$cc is missing; on Debian: apt-get install $cc_package; or: $zig"
    else
        fail "cargo-zigbuild is missing; type: $zig"
    fi
    if [[ $target != *-musl ]]; then export "CARGO_TARGET_${under^^}_LINKER=$cc"; fi
}

# built_in: the directory that cargo builds into.
built_in() {
    local dir=${CARGO_TARGET_DIR:-target}
    [[ $dir == /* ]] || dir=$PWD/$dir
    echo "$dir"
}

# built TARGET PROFILE: where its programs are then.
built() {
    local profile=$2
    [[ $profile != dev ]] || profile=debug
    echo "$(built_in)/$1/$profile"
}

# check_binary FILE: built for $target, no newer glibc than $glibc_max; prints what it needs and its size.
check_binary() {
    local file=$1 found needed
    found=$(readelf --file-header "$file" | sed -n 's/^ *Machine: *//p')
    [[ $found == *"$machine"* ]] || fail "$file is for $found, not for $machine"
    # Every version of every glibc symbol that the dynamic linker will look for; none in a static binary.
    needed=$(readelf --version-info --wide "$file" | sed -nE 's/.*GLIBC_([0-9.]+).*/\1/p' | sort -Vu | tail -n 1)
    if [[ $target == *-musl ]]; then
        [[ -z $needed ]] || fail "$file asks for glibc $needed; it should be static"
        needed='no C library'
    else
        [[ $(printf '%s\n' "$needed" "$glibc_max" | sort -V | tail -n 1) == "$glibc_max" ]] || fail \
            "$file asks for glibc $needed, and devices may have $glibc_max." \
            "Install cargo-zigbuild, which links against $glibc_max whatever this system has:" \
            "pipx install cargo-zigbuild (or: cargo install cargo-zigbuild, and zig)"
        needed="glibc $needed"
    fi
    printf '%s: %s, needs %s, %s bytes\n' "$file" "$found" "$needed" "$(stat -c %s "$file")"
}
