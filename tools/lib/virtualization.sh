# shellcheck shell=bash
# What this machine runs virtual machines with.

# has_nested_kvm: whether KVM here runs another KVM inside: /dev/kvm, and VMX or SVM. /dev/kvm alone is no proof of either:
# paravirtual ones exist that run no stock kernel.
has_nested_kvm() { [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; }
