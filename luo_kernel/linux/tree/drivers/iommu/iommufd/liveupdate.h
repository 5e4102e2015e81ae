/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _IOMMUFD_LIVEUPDATE_H
#define _IOMMUFD_LIVEUPDATE_H

struct iommu_domain;
struct iommufd_device;

/*
 * Between the two nothing attaches the device to, or detaches it from, a page
 * table, and nothing maps or unmaps in the page table it is attached to.
 */
struct iommu_domain *iommufd_liveupdate_freeze(struct iommufd_device *idev);
void iommufd_liveupdate_thaw(struct iommufd_device *idev);

#endif /* _IOMMUFD_LIVEUPDATE_H */
