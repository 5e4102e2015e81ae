#!/bin/sh
# Runs a program under luo-emulate: under_luo_emulate.sh LUO_EMULATE PROGRAM. Where this system has no seccomp
# notifications that is SKIPPED.
set -u

emulate=$1
program=$2
if ! why=$("$emulate" -- true 2>&1); then
  case $why in
    *"seccomp notifications"*)
      echo "SKIPPED: $why"
      exit 0
      ;;
  esac
  echo "$why"
  exit 1
fi
"$emulate" -- "$program"
