"""Repositories that point at what the distribution installed, under the upstream projects' labels.

Nothing is downloaded by Bazel itself. The libraries are no tracked inputs: after a system upgrade run
`bazel clean --expunge`.
"""

# Upstream label package -> the targets the project uses.
_ABSL = {
    "absl/base": ["core_headers"],
    "absl/container": ["flat_hash_map", "flat_hash_set"],
    "absl/functional": ["function_ref"],
    "absl/status": ["status", "statusor"],
    "absl/strings": ["str_format", "strings"],
    "absl/time": ["time"],
    "absl/types": ["span"],
}

def _libdir(ctx):
    arch = ctx.execute(["gcc", "-print-multiarch"])
    directory = "/usr/lib/" + arch.stdout.strip()
    return directory if ctx.path(directory).exists else "/usr/lib"

def _system_absl_impl(ctx):
    directory = ctx.path(_libdir(ctx))
    libs = sorted([
        p.basename
        for p in directory.readdir()
        if p.basename.startswith("libabsl_") and p.basename.endswith(".a")
    ])
    if not libs:
        fail("libabsl_*.a not found in %s: run tools/setup/packages" % directory)
    ctx.file("BUILD.bazel", """
cc_library(
    name = "all",
    linkopts = ["-Wl,--start-group"] + %s + ["-Wl,--end-group", "-pthread"],
    visibility = ["//:__subpackages__"],
)
""" % repr(["-l:" + lib for lib in libs]))
    for package, targets in _ABSL.items():
        ctx.file(package + "/BUILD.bazel", "".join([
            'cc_library(name = "%s", visibility = ["//visibility:public"], deps = ["//:all"])\n' % target
            for target in targets
        ]))

# Abseil, statically, as @com_google_absl//absl/...
system_absl = repository_rule(implementation = _system_absl_impl, local = True)

def _system_lib_impl(ctx):
    body = ""
    for name, opts in ctx.attr.targets.items():
        body += 'cc_library(name = "%s", linkopts = %s, visibility = ["//visibility:public"])\n' % (name, repr(opts))
    ctx.file("BUILD.bazel", body)

# A library whose headers lie in /usr/include: targets maps a target's name to its linker options.
system_lib = repository_rule(
    implementation = _system_lib_impl,
    attrs = {"targets": attr.string_list_dict()},
)

def _kernel_headers_impl(ctx):
    result = ctx.execute([ctx.path(Label("//:tools/setup/kernel_headers"))], quiet = False)
    if result.return_code != 0:
        fail("tools/setup/kernel_headers failed:\n" + result.stderr)
    root = ctx.path(result.stdout.strip() + "/usr/include")

    # Only the kernel's own folders: the package is laid over the C library's headers, not in place of them.
    for folder in ["linux", "asm-generic"]:
        ctx.symlink(root.get_child(folder), "include/" + folder)
    ctx.symlink(root.get_child("x86_64-linux-gnu").get_child("asm"), "include/asm")
    ctx.file("BUILD.bazel", """
cc_library(
    name = "uapi",
    hdrs = glob(["include/**/*.h"]),
    includes = ["include"],
    visibility = ["//visibility:public"],
)
""")

# Linux 7.3's user-space headers (KVM, VFIO, iommufd, liveupdate), unpacked beside the system's older ones.
kernel_headers = repository_rule(
    implementation = _kernel_headers_impl,
    environ = ["HOME", "VMM_CACHE", "XDG_CACHE_HOME"],
    local = True,
)

def _made_files_impl(ctx):
    # Kept in the cache folder, so this takes long once at the most; what every test run needs tools/test makes beforehand,
    # with progress.
    command = [ctx.path(ctx.attr.tool)]
    for fragment in ctx.attr.fragments:
        command += ["--fragment", ctx.path(fragment)]
    for patch in ctx.attr.patches:
        command += ["--patch", ctx.path(patch)]
    result = ctx.execute(command, timeout = 7200, quiet = False)
    if result.return_code != 0:
        fail("%s failed:\n%s" % (ctx.attr.tool, result.stderr))
    made = ctx.path(result.stdout.strip())
    for name in ctx.attr.files:
        ctx.symlink(made.get_child(name), name)
    ctx.file("BUILD.bazel", 'exports_files(%s, visibility = ["//visibility:public"])\n' % repr(ctx.attr.files))

# Files of a folder that `tool` makes outside the checkout and prints: kernels; each fragment is a `--fragment` of the tool,
# each patch a `--patch`.
made_files = repository_rule(
    implementation = _made_files_impl,
    attrs = {
        "tool": attr.label(),
        "files": attr.string_list(),
        "fragments": attr.label_list(),
        "patches": attr.label_list(),
    },
    environ = ["HOME", "VMM_CACHE", "XDG_CACHE_HOME"],
    local = True,
)
