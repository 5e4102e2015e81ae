// SPDX-License-Identifier: GPL-2.0
/*
 * The live update ABI that this kernel speaks, for those who are to tell before
 * a kexec whether the next kernel understands what this one hands over: the
 * ELF section .liveupdate_versions of vmlinux, and its content again as
 * /sys/kernel/liveupdate_versions.
 */
#include <linux/init.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/luo.h>
#include <linux/kho/abi/memfd.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/kobject.h>
#include <linux/sysfs.h>
#include <linux/types.h>

#define LIVEUPDATE_VERSIONS_MAGIC	0x4c565550	/* "LVUP" */
#define LIVEUPDATE_VERSIONS_VERSION	1

/**
 * struct liveupdate_versions - The section's content.
 * @magic:   LIVEUPDATE_VERSIONS_MAGIC.
 * @version: LIVEUPDATE_VERSIONS_VERSION.
 * @kho:     From here to the end: compatible strings, each with its NUL.
 * @luo:     Of LUO itself.
 * @memfd:   Of the memfd file handler.
 * @vfio_pci: Of the VFIO PCI file handler.
 * @vtd:     Of its FLB.
 *
 * Constant.
 */
struct liveupdate_versions {
	u32 magic;
	u32 version;
	char kho[sizeof(KHO_FDT_COMPATIBLE)];
	char luo[sizeof(LUO_ABI_COMPATIBLE)];
#ifdef CONFIG_LIVEUPDATE_MEMFD
	char memfd[sizeof(MEMFD_LUO_FH_COMPATIBLE)];
#endif
#ifdef CONFIG_VFIO_PCI_LIVEUPDATE
	char vfio_pci[sizeof(VFIO_PCI_LUO_FH_COMPATIBLE)];
	char vtd[sizeof(VTD_LUO_FLB_COMPATIBLE)];
#endif
} __packed;

static_assert(offsetof(struct liveupdate_versions, kho) == 8);

static const struct liveupdate_versions liveupdate_versions
__used __section(".liveupdate_versions") = {
	.magic = LIVEUPDATE_VERSIONS_MAGIC,
	.version = LIVEUPDATE_VERSIONS_VERSION,
	.kho = KHO_FDT_COMPATIBLE,
	.luo = LUO_ABI_COMPATIBLE,
#ifdef CONFIG_LIVEUPDATE_MEMFD
	.memfd = MEMFD_LUO_FH_COMPATIBLE,
#endif
#ifdef CONFIG_VFIO_PCI_LIVEUPDATE
	.vfio_pci = VFIO_PCI_LUO_FH_COMPATIBLE,
	.vtd = VTD_LUO_FLB_COMPATIBLE,
#endif
};

static const struct bin_attribute versions_attribute = {
	.attr = { .name = "liveupdate_versions", .mode = 0444 },
	.size = sizeof(liveupdate_versions),
	.private = (void *)&liveupdate_versions,
	.read = sysfs_bin_attr_simple_read,
};

static int __init liveupdate_versions_init(void)
{
	return sysfs_create_bin_file(kernel_kobj, &versions_attribute);
}
late_initcall(liveupdate_versions_init);
