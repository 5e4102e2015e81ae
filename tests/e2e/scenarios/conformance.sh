# What every /dev/liveupdate must answer, asked of the kernel's own.
. /lib/e2e.sh

live_update_client_test || fail "live_update_client_test"
device_file_test || fail "device_file_test"
