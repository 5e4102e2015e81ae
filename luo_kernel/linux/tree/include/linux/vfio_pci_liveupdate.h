/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VFIO PCI devices across a live update: what the PCI core, vfio-pci, kexec and
 * the IOMMU driver ask. Each of these is one of the hooks that README.md of the
 * live update patches lists; without CONFIG_VFIO_PCI_LIVEUPDATE all are no-ops.
 */
#ifndef _LINUX_VFIO_PCI_LIVEUPDATE_H
#define _LINUX_VFIO_PCI_LIVEUPDATE_H

#include <linux/types.h>

struct eventfd_ctx;
struct kimage;
struct pci_dev;
struct vfio_pci_core_device;

#ifdef CONFIG_VFIO_PCI_LIVEUPDATE

bool vfio_pci_liveupdate_keeps_master(struct pci_dev *pdev);
bool vfio_pci_liveupdate_upstream(struct pci_dev *pdev);
int vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_pending(struct vfio_pci_core_device *vdev);
int vfio_pci_liveupdate_saved(struct vfio_pci_core_device *vdev);
void vfio_pci_liveupdate_armed(struct vfio_pci_core_device *vdev,
			       unsigned int vector, struct eventfd_ctx *trigger);
void vfio_pci_liveupdate_loaded(struct kimage *image);

#else /* CONFIG_VFIO_PCI_LIVEUPDATE */

static inline bool vfio_pci_liveupdate_keeps_master(struct pci_dev *pdev)
{
	return false;
}

static inline bool vfio_pci_liveupdate_upstream(struct pci_dev *pdev)
{
	return false;
}

static inline int vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev)
{
	return 0;
}

static inline bool vfio_pci_liveupdate_pending(struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline int vfio_pci_liveupdate_saved(struct vfio_pci_core_device *vdev)
{
	return 0;
}

static inline void vfio_pci_liveupdate_armed(struct vfio_pci_core_device *vdev,
					     unsigned int vector,
					     struct eventfd_ctx *trigger)
{
}

static inline void vfio_pci_liveupdate_loaded(struct kimage *image)
{
}

#endif /* CONFIG_VFIO_PCI_LIVEUPDATE */

#endif /* _LINUX_VFIO_PCI_LIVEUPDATE_H */
