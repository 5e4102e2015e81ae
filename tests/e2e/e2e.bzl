"""End-to-end tests: a scenario that runs in the emulated test host."""

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
    args.append("--timeout %d" % {"short": 50, "moderate": 270, "long": 840}[timeout])
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
