#!/bin/sh
# What the other tests of devices guard against: of a NIC that is not preserved nothing arrives any more, and they see it.
. /lib/e2e.sh

touch "/share/vfio.ended.$((GENERATION - 1))" /share/vfio.stops
case $GENERATION in
  0) vfio_nic e1000e 1 leave || fail "vfio_nic ends with $?" ;;
  *) vfio_nic e1000e 1 stopped || fail "vfio_nic ends with $?" ;;
esac
