// SPDX-License-Identifier: GPL-2.0
/*
 * Holds an iommufd device's page table still while it is handed over to the
 * next kernel.
 *
 * Every path that changes what a device may reach takes one of two locks: the
 * group's lock to attach, replace and detach; io_pagetable::domains_rwsem to
 * map and unmap. (A dma-buf is unmapped without either when it is revoked: Kconfig
 * rules that out.) Freezing takes both and keeps them: until thaw, or for ever
 * when the kexec comes. A thread that wants to map meanwhile sleeps.
 *
 * Both are taken by trylock for a bounded time. So a kexec can never hang on
 * user space that maps without end, and no lock order arises between the page
 * tables of several devices.
 */
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "iommufd_private.h"
#include "liveupdate.h"

/* A map in progress pins and maps at most gigabytes; more is no normal user. */
#define FREEZE_TIMEOUT	msecs_to_jiffies(1000)

/**
 * struct frozen_iopt - An IOAS that is held still.
 * @list: In frozen_iopts.
 * @iopt: Its map, whose domains_rwsem is held for writing.
 * @users: How many frozen devices are attached to page tables of it.
 *
 * Lives from the first freeze of such a device to the last thaw. All fields
 * are protected by frozen_lock.
 */
struct frozen_iopt {
	struct list_head list;
	struct io_pagetable *iopt;
	unsigned int users;
};

static LIST_HEAD(frozen_iopts);
static DEFINE_MUTEX(frozen_lock);

static struct frozen_iopt *find_frozen(struct io_pagetable *iopt)
{
	struct frozen_iopt *frozen;

	lockdep_assert_held(&frozen_lock);
	list_for_each_entry(frozen, &frozen_iopts, list)
		if (frozen->iopt == iopt)
			return frozen;
	return NULL;
}

static int freeze_iopt(struct io_pagetable *iopt)
{
	unsigned long end = jiffies + FREEZE_TIMEOUT;
	struct frozen_iopt *frozen;

	guard(mutex)(&frozen_lock);
	frozen = find_frozen(iopt);
	if (frozen) {
		frozen->users++;
		return 0;
	}
	frozen = kzalloc_obj(*frozen);
	if (!frozen)
		return -ENOMEM;
	while (!down_write_trylock(&iopt->domains_rwsem)) {
		if (time_after(jiffies, end)) {
			kfree(frozen);
			return -EBUSY;
		}
		usleep_range(50, 200);
	}
	frozen->iopt = iopt;
	frozen->users = 1;
	list_add(&frozen->list, &frozen_iopts);
	return 0;
}

static void thaw_iopt(struct io_pagetable *iopt)
{
	struct frozen_iopt *frozen;

	guard(mutex)(&frozen_lock);
	frozen = find_frozen(iopt);
	if (WARN_ON(!frozen) || --frozen->users)
		return;
	list_del(&frozen->list);
	up_write(&iopt->domains_rwsem);
	kfree(frozen);
}

/* The page table that serves the device's DMA without PASID. */
static struct iommufd_hwpt_paging *frozen_hwpt(struct iommufd_device *idev)
{
	struct iommu_attach_handle *handle;

	handle = iommu_attach_handle_get(idev->igroup->group, IOMMU_NO_PASID, 0);
	if (IS_ERR(handle))
		return ERR_PTR(-ENOTCONN);
	if (handle->domain->cookie_type != IOMMU_COOKIE_IOMMUFD ||
	    !hwpt_is_paging(handle->domain->iommufd_hwpt))
		return ERR_PTR(-EDOM);
	return to_hwpt_paging(handle->domain->iommufd_hwpt);
}

/* The lowest PASID that is attached; entry 0 is DMA without PASID. */
static bool has_pasids(struct iommufd_device *idev)
{
	unsigned long pasid = 0;

	return xa_find(&idev->igroup->pasid_attach, &pasid, ULONG_MAX,
		       XA_PRESENT) &&
	       (pasid != IOMMU_NO_PASID ||
		xa_find_after(&idev->igroup->pasid_attach, &pasid, ULONG_MAX,
			      XA_PRESENT));
}

/**
 * iommufd_liveupdate_freeze() - Holds a device's page table still.
 * @idev: The device, alone in its IOMMU group.
 *
 * Context: May sleep, up to two seconds.
 * Return: The domain that serves its DMA, or
 *         -ENOTCONN  it is attached to nothing,
 *         -EDOM      it is attached to something that cannot be handed over,
 *         -EPROTONOSUPPORT  PASIDs of it are attached,
 *         -EBUSY     user space did not stop mapping or attaching,
 *         -ENOMEM.
 */
struct iommu_domain *iommufd_liveupdate_freeze(struct iommufd_device *idev)
{
	unsigned long end = jiffies + FREEZE_TIMEOUT;
	struct iommufd_hwpt_paging *hwpt;
	int ret;

	while (!mutex_trylock(&idev->igroup->lock)) {
		if (time_after(jiffies, end))
			return ERR_PTR(-EBUSY);
		usleep_range(50, 200);
	}
	hwpt = frozen_hwpt(idev);
	if (IS_ERR(hwpt)) {
		ret = PTR_ERR(hwpt);
		goto err_unlock;
	}
	if (has_pasids(idev)) {
		ret = -EPROTONOSUPPORT;
		goto err_unlock;
	}
	if (hwpt->nest_parent) {
		ret = -EDOM;
		goto err_unlock;
	}
	ret = freeze_iopt(&hwpt->ioas->iopt);
	if (ret)
		goto err_unlock;
	return hwpt->common.domain;

err_unlock:
	mutex_unlock(&idev->igroup->lock);
	return ERR_PTR(ret);
}

/**
 * iommufd_liveupdate_thaw() - Undoes iommufd_liveupdate_freeze().
 * @idev: The device, frozen by the same task.
 */
void iommufd_liveupdate_thaw(struct iommufd_device *idev)
{
	struct iommufd_hwpt_paging *hwpt = frozen_hwpt(idev);

	if (!WARN_ON(IS_ERR(hwpt)))
		thaw_iopt(&hwpt->ioas->iopt);
	mutex_unlock(&idev->igroup->lock);
}
