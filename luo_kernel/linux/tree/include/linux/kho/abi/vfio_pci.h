/* SPDX-License-Identifier: GPL-2.0 */

#ifndef _LINUX_KHO_ABI_VFIO_PCI_H
#define _LINUX_KHO_ABI_VFIO_PCI_H

#include <linux/build_bug.h>
#include <linux/pci_regs.h>
#include <linux/types.h>

/**
 * DOC: VFIO PCI and Intel VT-d Live Update ABI
 *
 * What one kernel leaves to the next about PCI devices that go on doing DMA
 * across a kexec. Two things are handed over, both through LUO:
 *
 * - per preserved device a &struct vfio_pci_luo_ser in a page of its own. Its
 *   physical address is the file's serialized data.
 * - once, as an FLB, a &struct vtd_luo_flb_ser. It heads the chain of all those
 *   devices, which the next kernel needs long before any file is retrieved (at
 *   the PCI scan, and when it sets up the IOMMUs), and the list of every page
 *   that hardware may read while it translates for them: root, context and
 *   PASID tables, page tables.
 *
 * All of these pages are preserved by KHO. All addresses are physical.
 * Hardware's own tables have the layout of the VT-d specification and are no
 * part of this ABI.
 *
 * This interface is a contract. Any change to a structure's layout or to the
 * meaning of a field needs a new number in the compatible string.
 */

/** VFIO_PCI_LUO_FH_COMPATIBLE - the compatible string of the file handler */
#define VFIO_PCI_LUO_FH_COMPATIBLE	"vfio-pci-v1"

/** VTD_LUO_FLB_COMPATIBLE - the compatible string of the FLB */
#define VTD_LUO_FLB_COMPATIBLE		"intel-vtd-v1"

/**
 * enum vfio_pci_luo_flags - Flags of a device handed over.
 * @VFIO_PCI_LUO_FROZEN:      The device's tables are handed over. Without it
 *                            the device is to be treated as any other.
 * @VFIO_PCI_LUO_SCALABLE:    Its IOMMU runs in scalable mode.
 * @VFIO_PCI_LUO_RESET_WORKS: The device has a function reset that worked.
 */
enum vfio_pci_luo_flags {
	VFIO_PCI_LUO_FROZEN		= 1 << 0,
	VFIO_PCI_LUO_SCALABLE		= 1 << 1,
	VFIO_PCI_LUO_RESET_WORKS	= 1 << 2,
};

/**
 * struct vfio_pci_luo_ser - One device that keeps its translation and its DMA.
 * @next:      Address of the next device, 0 for the last one.
 * @iommu_reg: Address of the registers of the IOMMU in front of it, by which
 *             both kernels know that IOMMU.
 * @bar:       The addresses of its BARs; they must be the same afterwards.
 * @segment:   PCI segment.
 * @bus:       Bus number.
 * @devfn:     Device and function number.
 * @vendor:    Vendor ID.
 * @device:    Device ID.
 * @domain_id: The domain ID that tags its translations in the IOMMU's caches.
 *             The next kernel must not use it until the old tables are gone.
 * @flags:     Of &enum vfio_pci_luo_flags.
 * @reserved:  0.
 */
struct vfio_pci_luo_ser {
	u64 next;
	u64 iommu_reg;
	u64 bar[PCI_STD_NUM_BARS];
	u16 segment;
	u8 bus;
	u8 devfn;
	u16 vendor;
	u16 device;
	u16 domain_id;
	u16 flags;
	u32 reserved;
} __packed;

static_assert(sizeof(struct vfio_pci_luo_ser) == 80);

/**
 * struct vtd_luo_flb_ser - All devices handed over, and all their tables.
 * @first_device: Address of the first &struct vfio_pci_luo_ser.
 * @nr_devices:   How many there are in the chain.
 * @tables:       Address of the first KHO block of the list of table pages; its
 *                entries are addresses (u64).
 * @nr_tables:    How many entries there are in all blocks.
 */
struct vtd_luo_flb_ser {
	u64 first_device;
	u64 nr_devices;
	u64 tables;
	u64 nr_tables;
} __packed;

static_assert(sizeof(struct vtd_luo_flb_ser) == 32);

#endif /* _LINUX_KHO_ABI_VFIO_PCI_H */
