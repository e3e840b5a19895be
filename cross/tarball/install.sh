#!/bin/sh
# Installs Dunlin on a system without dpkg: ./install.sh, as root, from where the archive was unpacked.
# Again, with a newer one, to upgrade: configuration and data stay as they are.
#
#   --init KIND     systemd, openrc, sysv or none; what runs here unless given
#   --no-start      installs only
#   --uninstall     takes the program and the service away; configuration and data stay
#   --purge         with --uninstall: takes these away too
#
# Works with the shells of Debian and of busybox.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
init='' start=yes action=install purge=no

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --init)
            [ $# -ge 2 ] || fail '--init needs a kind: systemd, openrc, sysv or none'
            init=$2
            shift
            ;;
        --no-start) start=no ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        *)
            sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
            exit 2
            ;;
    esac
    shift
done
if [ "$purge" = yes ] && [ "$action" = install ]; then
    fail '--purge goes with --uninstall'
fi
[ "$(id -u)" = 0 ] || fail 'must be root: it writes to /usr/bin and /etc'

if [ -z "$init" ]; then
    if [ -d /run/systemd/system ]; then
        init=systemd
    elif command -v openrc-run >/dev/null 2>&1 || [ -x /sbin/openrc-run ]; then
        init=openrc
    elif [ -d /etc/init.d ]; then
        init=sysv
    else
        init=none
    fi
fi
case $init in
    systemd) service_file=dunlin.service service_path=/etc/systemd/system/dunlin.service mode=0644 ;;
    openrc) service_file=dunlin.openrc service_path=/etc/init.d/dunlin mode=0755 ;;
    sysv) service_file=dunlin.init service_path=/etc/init.d/dunlin mode=0755 ;;
    none) service_file='' service_path='' mode='' ;;
    *) fail "unknown --init $init: systemd, openrc, sysv or none" ;;
esac

# put FILE PLACE MODE: whole or not at all, and also over a program that runs.
put() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2.new"
    chmod "$3" "$2.new"
    mv -f "$2.new" "$2"
}

# The programs that make users differ; all of these do the same.
make_user() {
    if id dunlin >/dev/null 2>&1; then
        return
    fi
    if command -v useradd >/dev/null 2>&1; then
        useradd --system --user-group --home-dir /var/lib/dunlin --no-create-home \
            --shell /bin/false dunlin
    else
        addgroup -S dunlin
        adduser -S -D -H -h /var/lib/dunlin -s /bin/false -G dunlin dunlin
    fi
}

remove_user() {
    id dunlin >/dev/null 2>&1 || return 0
    if command -v userdel >/dev/null 2>&1; then
        userdel dunlin
    else
        deluser dunlin
    fi
    # Some take the group along and some do not.
    if grep -q '^dunlin:' /etc/group; then
        if command -v groupdel >/dev/null 2>&1; then groupdel dunlin; else delgroup dunlin; fi
    fi
}

stop_service() {
    [ -e "$service_path" ] || return 0
    case $init in
        systemd) systemctl disable --now dunlin.service ;;
        openrc)
            rc-service dunlin stop
            rc-update del dunlin default
            ;;
        sysv)
            /etc/init.d/dunlin stop
            if command -v update-rc.d >/dev/null 2>&1; then update-rc.d -f dunlin remove; fi
            rm -f /etc/rc.d/S90dunlin /etc/init.d/S90dunlin
            ;;
    esac
}

start_service() {
    case $init in
        systemd)
            systemctl daemon-reload
            systemctl enable dunlin.service
            if [ "$start" = yes ]; then systemctl restart dunlin.service; fi
            ;;
        openrc)
            rc-update add dunlin default
            if [ "$start" = yes ]; then rc-service dunlin restart; fi
            ;;
        sysv)
            if command -v update-rc.d >/dev/null 2>&1; then
                update-rc.d dunlin defaults
            elif [ -d /etc/rc.d ]; then
                ln -sf /etc/init.d/dunlin /etc/rc.d/S90dunlin
            elif [ -e /etc/init.d/rcS ]; then
                # Buildroot starts what is called S and a number.
                ln -sf dunlin /etc/init.d/S90dunlin
            fi
            if [ "$start" = yes ]; then /etc/init.d/dunlin restart; fi
            ;;
        none) echo 'No init system known here: start it with: dunlin run -c /etc/dunlin/dunlin.toml' ;;
    esac
}

if [ "$action" = uninstall ]; then
    stop_service || echo 'install.sh: could not stop the service; going on' >&2
    rm -f "$service_path" /usr/bin/dunlin /usr/share/man/man1/dunlin.1 /usr/share/man/man1/dunlin-*.1 \
        /usr/share/bash-completion/completions/dunlin \
        /usr/share/zsh/site-functions/_dunlin /usr/share/fish/vendor_completions.d/dunlin.fish
    if [ "$init" = systemd ]; then systemctl daemon-reload; fi
    if [ "$purge" = yes ]; then
        rm -rf /etc/dunlin /var/lib/dunlin
        remove_user
        echo 'Removed, with its configuration and data.'
    else
        echo 'Removed. Configuration is still in /etc/dunlin, data in /var/lib/dunlin; --purge removes them.'
    fi
    exit 0
fi

"$here/dunlin" --version >/dev/null 2>&1 ||
    fail "$here/dunlin does not run here; this machine is $(uname -m): is it the archive for another one?"

make_user
put "$here/dunlin" /usr/bin/dunlin 0755
if [ ! -e /etc/dunlin/dunlin.toml ]; then
    put "$here/dunlin.toml" /etc/dunlin/dunlin.toml 0640
    chgrp dunlin /etc/dunlin/dunlin.toml
fi
if [ ! -d /var/lib/dunlin ]; then
    mkdir -p /var/lib/dunlin
    chown dunlin:dunlin /var/lib/dunlin
    chmod 0700 /var/lib/dunlin
fi
if [ -n "$service_file" ]; then put "$here/$service_file" "$service_path" "$mode"; fi
if [ -d /usr/share/man ]; then
    for page in "$here"/man/*.1; do put "$page" "/usr/share/man/man1/${page##*/}" 0644; done
fi
if [ -d /usr/share/bash-completion/completions ]; then
    put "$here/completions/dunlin.bash" /usr/share/bash-completion/completions/dunlin 0644
fi
if [ -d /usr/share/zsh/site-functions ]; then
    put "$here/completions/_dunlin" /usr/share/zsh/site-functions/_dunlin 0644
fi
if [ -d /usr/share/fish/vendor_completions.d ]; then
    put "$here/completions/dunlin.fish" /usr/share/fish/vendor_completions.d/dunlin.fish 0644
fi
# A configuration from before may be one that this version refuses: better told now than by a service
# that does not start.
dunlin check -c /etc/dunlin/dunlin.toml
start_service
echo "Installed $(dunlin --version | head -n 1) ($init). Name your broker and database in /etc/dunlin/dunlin.toml,"
echo 'then restart the service.'
