/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VFIO PCI devices across a live update: what the files of this folder use of
 * one another. What others use is in <linux/vfio_pci_liveupdate.h> and in VT-d's
 * liveupdate.h.
 */
#ifndef _VFIO_PCI_LIVEUPDATE_PRIV_H
#define _VFIO_PCI_LIVEUPDATE_PRIV_H

#include <linux/pci.h>
#include <linux/string.h>
#include <linux/types.h>

struct liveupdate_file_op_args;

/* next_kernel.c */
int vfio_pci_luo_check_next_kernel(struct pci_dev *pdev, bool must_be_loaded);

/* outgoing.c: LUO's operations before the kexec. */
int vfio_pci_luo_preserve(struct liveupdate_file_op_args *args);
void vfio_pci_luo_unpreserve(struct liveupdate_file_op_args *args);
int vfio_pci_luo_freeze(struct liveupdate_file_op_args *args);
void vfio_pci_luo_unfreeze(struct liveupdate_file_op_args *args);

/* incoming.c: LUO's operations after it. */
int vfio_pci_luo_retrieve(struct liveupdate_file_op_args *args);
bool vfio_pci_luo_can_finish(struct liveupdate_file_op_args *args);
void vfio_pci_luo_finish(struct liveupdate_file_op_args *args);

/* Whether vfio-pci itself drives the device, no variant of it. */
static inline bool vfio_pci_luo_is_bound(struct pci_dev *pdev)
{
	struct pci_driver *driver = pci_dev_driver(pdev);

	return driver && !strcmp(driver->name, "vfio-pci");
}

/* Whether a bridge is between a bus and the host. */
static inline bool vfio_pci_luo_is_above(struct pci_dev *bridge, int segment,
					 u8 bus)
{
	return bridge->subordinate && pci_domain_nr(bridge->bus) == segment &&
	       bridge->subordinate->number <= bus &&
	       bridge->subordinate->busn_res.end >= bus;
}

#endif /* _VFIO_PCI_LIVEUPDATE_PRIV_H */
