"""End-to-end tests: a scenario that runs in the emulated test host."""

# Of the runner, in seconds: so much less than Bazel's as tells its own story in time.
_TIMEOUTS = {
    "short": 50,
    "moderate": 270,
    "long": 840,
    "eternal": 3500,
}

def e2e_test(name, scenario, files = {}, flags = [], timeout = "moderate", tags = []):
    """A test that passes when the scenario exits with 0.

    Args:
      name: the test's.
      scenario: sh script, run in the test host after power-on and after each kexec.
      files: label -> path in the test host. Under /share/ it is the share's and there once, elsewhere in the initramfs
        and so there again after a kexec. Programs must be linked statically.
      flags: more flags for tools/test_host/run.
      timeout: Bazel's; the test host gets as much less as tells its own story in time.
      tags: more tags.
    """
    all_files = {"//tests/e2e:lib.sh": "/lib/e2e.sh"}
    all_files.update(files)
    args = ["--script $(rootpath %s)" % scenario]
    args.append("--timeout %d" % _TIMEOUTS[timeout])
    args.extend(["--file $(rootpath %s):%s" % pair for pair in all_files.items()])
    native.sh_test(
        name = name,
        srcs = ["//tools/test_host:run"],
        args = args + flags,
        data = [scenario, "//tools/test_host:runtime"] + all_files.keys(),
        timeout = timeout,
        # Two emulated hosts at a time would run into each other's time limits.
        tags = ["e2e", "exclusive", "local", "nosan"] + tags,
    )

# What runs VMs in the test host, and a stock guest for them. What lies in the share is not needed after a kexec.
_VM_FILES = {
    "//vmm/cli:vmm": "/sbin/vmm",
    "//tools/luod": "/sbin/luod",
    "//tools/luoctl": "/sbin/luoctl",
    "//tests/support/console_client": "/sbin/console_client",
    "//tests/support/frame_map": "/sbin/frame_map",
    "//tests/support/guest:guest.cpio.gz": "/share/guest/guest.cpio.gz",
    "@guest_kernel//:vmlinuz": "/share/guest/vmlinuz",
}

def vm_test(name, scenario, parameters = {}, files = {}, flags = [], **kwargs):
    """An e2e_test with vmm, luod, luoctl and a stock guest; scenarios read `parameters` by lib.sh's parameter()."""
    all_files = dict(_VM_FILES)
    all_files.update(files)
    e2e_test(
        name = name,
        scenario = scenario,
        files = all_files,
        flags = flags + ["--append e2e.%s=%s" % pair for pair in parameters.items()],
        **kwargs
    )

# The 82574 and the 82576, on the network of frame_source.
_NIC_FLAGS = [
    "--share {share}",
    "--qemu-arg -netdev",
    "--qemu-arg dgram,id=nic,local.type=fd,local.str={fd}",
    "--qemu-arg -monitor",
    "--qemu-arg unix:{monitor},server=on,wait=off",
    # Without interrupt remapping iommufd wants to be told that this is all right here.
    "--append iommufd.allow_unsafe_interrupts=1",
]

_IOMMU = "caching-mode=on,aw-bits=48"

# Of the vfio tests' second variant, on a kernel that looks for its own faults. KASAN's shadow, an eighth of the memory, is
# allocated before the next kernel knows what was preserved. A kexec takes tens of seconds: the NIC's ring holds the frames
# of 16 s at 1000 a second, and the slow disk at its usual speed would have ended its commands.
_DEBUG_FRAMES_PER_SECOND = 250

_DEBUG_DISK_IOPS = 3

DEBUG_KERNEL_FLAGS = [
    "--kernel $(rootpath @debug_kernel//:bzImage)",
    "--fail-on-reports",
    "--append kho_scratch=64M,768M,128M",
    "--append iommu.debug_pagealloc=1",
    "--append e2e.frames_per_second=%d" % _DEBUG_FRAMES_PER_SECOND,
]

_DEBUG_TIMEOUTS = {
    "short": "moderate",
    "moderate": "long",
    "long": "eternal",
}

def vfio_test(name, debug = True, **kwargs):
    """_vfio_test, and another one as NAME less "_test" and with "_debug_test", on the debug kernel; by name only.

    Args:
      name: the test's.
      debug: False for no second one, "only" for no first one.
      **kwargs: _vfio_test's.
    """
    if debug != "only":
        _vfio_test(name, **kwargs)
    if not debug:
        return
    kwargs["flags"] = DEBUG_KERNEL_FLAGS + kwargs.get("flags", [])
    kwargs["timeout"] = _DEBUG_TIMEOUTS[kwargs.get("timeout", "moderate")]
    kwargs["tags"] = [tag for tag in kwargs.get("tags", []) if tag not in ["manual", "slow"]] + [
        "debug_kernel",
        "manual",
        "slow",
    ]
    _vfio_test(
        name[:-len("_test")] + "_debug_test",
        frames_per_second = _DEBUG_FRAMES_PER_SECOND,
        disk_iops = _DEBUG_DISK_IOPS,
        more_data = ["@debug_kernel//:bzImage"],
        **kwargs
    )

def debug_kernel_suite(name):
    """All tests of the package so far that boot the debug kernel."""
    native.test_suite(
        name = name,
        tests = [test for test, rule in native.existing_rules().items() if "debug_kernel" in rule.get("tags", [])],
        tags = ["manual"],
    )

def _vfio_test(
        name,
        scenario,
        devices,
        scalable = False,
        first_stage = False,
        intremap = False,
        iommu = "",
        parameters = {},
        files = {},
        flags = [],
        timeout = "moderate",
        tags = [],
        frames_per_second = 1000,
        disk_iops = 8,
        more_data = []):
    """A scenario with devices that programs in the test host drive by VFIO, on a network of numbered frames.

    Args:
      name: the test's.
      scenario: as e2e_test's.
      devices: QEMU's -device options, in order; a NIC names `netdev=nic`, an NVMe disk `drive=disk0` or `drive=disk1`; the
        second of these disks is slow, so that its commands take seconds.
      scalable: whether the IOMMU is in scalable mode.
      first_stage: whether it has first-stage translation, there, in place of second-stage.
      intremap: whether it remaps interrupts.
      iommu: more of its properties.
      parameters: read by lib.sh's parameter().
      files: as e2e_test's.
      flags: more flags for tools/test_host/run.
      timeout: as e2e_test's.
      tags: more tags.
      frames_per_second: from outside to the NIC.
      disk_iops: of the slow disk.
      more_data: what flags name.
    """
    all_files = {
        "//tests/e2e:lib.sh": "/lib/e2e.sh",
        "//tests/support/vfio:vfio_nic": "/sbin/vfio_nic",
        "//tests/support/vfio:vfio_nvme": "/sbin/vfio_nvme",
        "//tests/support/vfio:vfio_preserve": "/sbin/vfio_preserve",
        "//tests/support/vfio:vfio_update": "/sbin/vfio_update",
    }
    all_files.update(files)
    iommu = "intremap=%s,%s%s" % ("on" if intremap else "off", _IOMMU, "," + iommu if iommu else "")
    args = ["--frames-per-second %d" % frames_per_second]
    args.extend(["$(rootpath //tools/test_host:run)", "--script $(rootpath %s)" % scenario])
    args.append("--timeout %d" % _TIMEOUTS[timeout])
    args.extend(["--file $(rootpath %s):%s" % pair for pair in all_files.items()])
    args.extend(_NIC_FLAGS)
    if scalable:
        iommu += ",x-scalable-mode=on"
        args.append("--append intel_iommu=sm_on")
        args.append("--append e2e.scalable=1")
    if first_stage:
        iommu += ",x-flts=on"
    if intremap:
        args.append("--append e2e.intremap=1")
    args.append("--iommu " + iommu)
    for device in devices:
        for disk in ["disk0", "disk1"]:
            if "drive=" + disk in device:
                args.append("--qemu-arg -drive")
                slow = ",throttling.iops-total=%d" % disk_iops if disk == "disk1" else ""
                args.append("--qemu-arg if=none,format=raw,id=%s,file={%s}%s" % (disk, disk, slow))
        args.append("--qemu-arg -device")
        args.append("--qemu-arg " + device)
    args.extend(["--append e2e.%s=%s" % pair for pair in parameters.items()])
    native.sh_test(
        name = name,
        srcs = ["//tests/support/vfio:frame_source"],
        args = args + flags,
        data = [scenario, "//tools/test_host:run", "//tools/test_host:runtime"] + all_files.keys() + more_data,
        timeout = timeout,
        tags = ["e2e", "exclusive", "local", "nosan"] + tags,
    )
