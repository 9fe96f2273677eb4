#!/bin/sh
# The power button, pressed by `virsh shutdown`.
echo TINY-SHUTDOWN >/dev/ttyS0
sync
poweroff -f
