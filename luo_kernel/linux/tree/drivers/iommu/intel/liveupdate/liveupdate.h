/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VT-d across a live update: hooks in iommu.c first, then what
 * drivers/vfio/pci/liveupdate/ uses, what it is asked, and what the files of this
 * folder use of one another.
 */
#ifndef _INTEL_IOMMU_LIVEUPDATE_H
#define _INTEL_IOMMU_LIVEUPDATE_H

#include <linux/types.h>

struct device;
struct dmar_domain;
struct intel_iommu;
struct iommu_domain;
struct liveupdate_flb;
struct liveupdate_flb_op_args;
struct vfio_pci_luo_ser;
struct vtd_luo_flb_ser;

#ifdef CONFIG_VFIO_PCI_LIVEUPDATE

bool intel_liveupdate_shutdown(struct intel_iommu *iommu);
bool intel_liveupdate_adopt(struct intel_iommu *iommu);
void intel_liveupdate_abandon(struct intel_iommu *iommu);
bool intel_liveupdate_pending(struct device *dev);
bool intel_liveupdate_defer(struct iommu_domain *domain, struct device *dev);
int intel_liveupdate_switch(struct dmar_domain *domain, struct device *dev);

#else /* CONFIG_VFIO_PCI_LIVEUPDATE */

static inline bool intel_liveupdate_shutdown(struct intel_iommu *iommu)
{
	return false;
}

static inline bool intel_liveupdate_adopt(struct intel_iommu *iommu)
{
	return false;
}

static inline void intel_liveupdate_abandon(struct intel_iommu *iommu)
{
}

static inline bool intel_liveupdate_pending(struct device *dev)
{
	return false;
}

static inline bool intel_liveupdate_defer(struct iommu_domain *domain,
					  struct device *dev)
{
	return false;
}

static inline int intel_liveupdate_switch(struct dmar_domain *domain,
					  struct device *dev)
{
	return -EINVAL;
}

#endif /* CONFIG_VFIO_PCI_LIVEUPDATE */

/* outgoing.c and flb.c, for the kernel that is left */
extern struct liveupdate_flb vtd_liveupdate_flb;
struct vtd_luo_flb_ser *vtd_liveupdate_outgoing(void);
int vtd_liveupdate_check(struct device *dev);
int vtd_liveupdate_count(struct device *dev, struct iommu_domain *domain,
			 unsigned long *nr_tables);
int vtd_liveupdate_freeze(struct device *dev, struct iommu_domain *domain,
			  struct vfio_pci_luo_ser *ser);
void vtd_liveupdate_drop_tables(void);
unsigned long vtd_liveupdate_max_tables(void);

/* incoming.c and flb.c, for the kernel that takes over */
int vtd_liveupdate_incoming(struct vtd_luo_flb_ser **serp);
int vtd_liveupdate_block(const struct vfio_pci_luo_ser *ser, struct device *dev);
void vtd_liveupdate_attach_default(struct device *dev);
void vtd_liveupdate_leak(void);

/* drivers/vfio/pci/liveupdate/: the devices, by what VT-d knows of them */
bool vfio_pci_liveupdate_outgoing_rid(u64 iommu_reg, u8 bus, u8 devfn);
bool vfio_pci_liveupdate_outgoing_iommu(u64 iommu_reg);
const struct vfio_pci_luo_ser *vfio_pci_liveupdate_incoming_ser(unsigned int i);
const struct vfio_pci_luo_ser *vfio_pci_liveupdate_pending_ser(struct device *dev);
void vfio_pci_liveupdate_switched(struct device *dev);
void vfio_pci_liveupdate_abandon(u64 iommu_reg, const char *why);

/* Between the files of this folder */
int vtd_flb_preserve(struct liveupdate_flb_op_args *args);
void vtd_flb_unpreserve(struct liveupdate_flb_op_args *args);
int vtd_flb_retrieve(struct liveupdate_flb_op_args *args);
void vtd_flb_finish(struct liveupdate_flb_op_args *args);
void vtd_liveupdate_flush_all(struct intel_iommu *iommu);

#endif /* _INTEL_IOMMU_LIVEUPDATE_H */
