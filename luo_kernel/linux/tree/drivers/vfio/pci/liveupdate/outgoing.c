// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO PCI devices across a live update, in the kernel that is left: what can be
 * handed over, and what keeps the PCI core from stopping a preserved device.
 */
#define pr_fmt(fmt)	"vfio-pci: liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/liveupdate.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/vfio_pci_core.h>
#include <linux/vfio_pci_liveupdate.h>

#include "../../../iommu/intel/liveupdate/liveupdate.h"
#include "../../../iommu/iommufd/liveupdate.h"
#include "../../vfio.h"
#include "../vfio_pci_priv.h"
#include "liveupdate.h"

/**
 * struct outgoing_device - A preserved device.
 * @list:      In outgoing_devices.
 * @pdev:      The device. The preserved file keeps it bound.
 * @vdev:      Its vfio-pci device.
 * @idev:      Its iommufd device; valid as the file stays bound.
 * @ser:       What is handed over about it, in preserved memory.
 * @nr_tables: How many tables it had when it was preserved.
 * @frozen:    Whether the kexec is under way: tables preserved, page table held
 *             still, interrupts masked. @idev's locks and @vdev's igate are held
 *             by the task that calls reboot().
 * @intx:      Whether INTx was enabled in its command register before interrupts
 *             were masked.
 * @msi:       Its MSI message control before that.
 * @msix:      Its MSI-X message control before that.
 *
 * Lives from preserve to unpreserve, or to the end of the kernel. @list, @ser's
 * chain and @frozen are protected by outgoing_lock; the rest is set at preserve
 * and freeze, which LUO does one after another.
 */
struct outgoing_device {
	struct list_head list;
	struct pci_dev *pdev;
	struct vfio_pci_core_device *vdev;
	struct iommufd_device *idev;
	struct vfio_pci_luo_ser *ser;
	unsigned long nr_tables;
	bool frozen;
	bool intx;
	u16 msi;
	u16 msix;
};

static LIST_HEAD(outgoing_devices);
static DEFINE_MUTEX(outgoing_lock);

/*
 * One task at a time freezes page tables: IOASes are shared between devices, and
 * what a task froze it must thaw itself. At the kexec LUO sees to that: no file is
 * being preserved then. Held for a few seconds at most.
 */
static DEFINE_MUTEX(freeze_lock);

static int refuse(struct pci_dev *pdev, int err, const char *why)
{
	pci_err(pdev, "liveupdate: refused: %s (%d)\n", why, err);
	return err;
}

static int is_alias(struct pci_dev *pdev, u16 alias, void *opaque)
{
	return alias != pci_dev_id(opaque);
}

/* As for VFIO, ports and bridges in the group do no harm: they do no DMA. */
static int count_device(struct device *dev, void *opaque)
{
	if (!dev_is_pci(dev) || !pci_is_bridge(to_pci_dev(dev)))
		++*(unsigned int *)opaque;
	return 0;
}

static int check_function(struct pci_dev *pdev)
{
	struct iommu_group *group;
	unsigned int in_group = 0;
	int ret;

	if (pdev->is_virtfn)
		return refuse(pdev, -EREMOTE, "it is a virtual function");
	if (pci_num_vf(pdev))
		return refuse(pdev, -ECHILD, "it has virtual functions");
	if (pci_for_each_dma_alias(pdev, is_alias, pdev))
		return refuse(pdev, -ENOTUNIQ, "its DMA has another requester ID too");
	group = iommu_group_get(&pdev->dev);
	if (group) {
		iommu_group_for_each_dev(group, &in_group, count_device);
		iommu_group_put(group);
	}
	if (in_group != 1)
		return refuse(pdev, -EUSERS, "it is not alone in its IOMMU group");
	ret = vtd_liveupdate_check(&pdev->dev);
	switch (ret) {
	case -ENODEV:
		return refuse(pdev, ret, "no Intel IOMMU translates for it");
	case -EPROTONOSUPPORT:
		return refuse(pdev, ret, "ATS or PRI is in use");
	case -EADDRINUSE:
		return refuse(pdev, ret, "firmware reserves memory regions for it (RMRR)");
	case -ENXIO:
		return refuse(pdev, ret, "the CPU has no CMPXCHG16B");
	}
	if (ret)
		return ret;
	/* quirk_usb_early_handoff() stops it when the next kernel boots. */
	if (pdev->class >> 8 == PCI_CLASS_SERIAL_USB)
		return refuse(pdev, -EOPNOTSUPP, "it is a USB controller");
	return 0;
}

static int refuse_tables(struct pci_dev *pdev, int err)
{
	switch (err) {
	case -ENOTCONN:
		return refuse(pdev, err, "it is attached to no page table");
	case -EDOM:
		return refuse(pdev, err, "its page table is of a kind that cannot be handed over");
	case -EPROTONOSUPPORT:
		return refuse(pdev, err, "PASIDs are in use");
	case -EBUSY:
		return refuse(pdev, err, "its page table does not stop changing");
	case -EFBIG:
		return refuse(pdev, err, "it has more tables than can be handed over");
	default:
		return refuse(pdev, err, "its tables cannot be preserved");
	}
}

static int count_tables(struct outgoing_device *out)
{
	struct outgoing_device *other;
	struct iommu_domain *domain;
	unsigned long sum;
	int ret;

	scoped_guard(mutex, &freeze_lock) {
		domain = iommufd_liveupdate_freeze(out->idev);
		if (IS_ERR(domain))
			return PTR_ERR(domain);
		ret = vtd_liveupdate_count(&out->pdev->dev, domain,
					   &out->nr_tables);
		iommufd_liveupdate_thaw(out->idev);
	}
	if (ret)
		return ret;
	/* Shared tables count more than once here, which errs to the safe side. */
	guard(mutex)(&outgoing_lock);
	sum = out->nr_tables;
	list_for_each_entry(other, &outgoing_devices, list)
		sum += other->nr_tables;
	return sum > vtd_liveupdate_max_tables() ? -EFBIG : 0;
}

/* The chain in preserved memory follows the list. */
static void chain_devices(void)
{
	struct vtd_luo_flb_ser *flb = vtd_liveupdate_outgoing();
	struct outgoing_device *out;
	u64 *link = &flb->first_device;

	lockdep_assert_held(&outgoing_lock);
	flb->nr_devices = 0;
	list_for_each_entry(out, &outgoing_devices, list) {
		*link = virt_to_phys(out->ser);
		link = &out->ser->next;
		flb->nr_devices++;
	}
	*link = 0;
}

int vfio_pci_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct vfio_device_file *df = args->file->private_data;
	struct pci_dev *pdev = to_pci_dev(df->device->dev);
	struct vfio_pci_luo_ser *ser;
	struct outgoing_device *out;
	int ret, i;

	/* Pairs with vfio_df_ioctl_bind_iommufd(). */
	if (!smp_load_acquire(&df->access_granted) || !df->device->iommufd_device)
		return refuse(pdev, -ENOTCONN, "it is bound to no iommufd");
	ret = check_function(pdev);
	if (ret)
		return ret;
	ret = vfio_pci_luo_check_next_kernel(pdev, false);
	if (ret)
		return ret;

	out = kzalloc_obj(*out);
	if (!out)
		return -ENOMEM;
	out->pdev = pdev;
	out->vdev = container_of(df->device, struct vfio_pci_core_device, vdev);
	out->idev = df->device->iommufd_device;
	ret = count_tables(out);
	if (ret) {
		refuse_tables(pdev, ret);
		goto err_free;
	}
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser)) {
		ret = PTR_ERR(ser);
		goto err_free;
	}
	*ser = (struct vfio_pci_luo_ser) {
		.segment = pci_domain_nr(pdev->bus),
		.bus = pdev->bus->number,
		.devfn = pdev->devfn,
		.vendor = pdev->vendor,
		.device = pdev->device,
	};
	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		ser->bar[i] = pci_resource_start(pdev, i);
	out->ser = ser;
	scoped_guard(mutex, &outgoing_lock) {
		list_add_tail(&out->list, &outgoing_devices);
		chain_devices();
	}
	args->serialized_data = virt_to_phys(ser);
	args->private_data = out;
	pci_info(pdev, "liveupdate: preserved, %lu table pages\n", out->nr_tables);
	return 0;

err_free:
	kfree(out);
	return ret;
}

void vfio_pci_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	struct outgoing_device *out = args->private_data;

	scoped_guard(mutex, &outgoing_lock) {
		list_del(&out->list);
		chain_devices();
	}
	kho_unpreserve_free(out->ser);
	kfree(out);
}

/*
 * From here to the next kernel's user space no interrupt of the device is to
 * arrive anywhere. What it raises meanwhile shows in its pending bits or not at
 * all; that is why each vector is signalled once when it is armed again.
 */
static void mask_interrupts(struct outgoing_device *out)
{
	struct pci_dev *pdev = out->pdev;
	u16 command;

	/* Its interrupt handler changes this bit under the same lock. */
	scoped_guard(spinlock_irqsave, &out->vdev->irqlock) {
		pci_read_config_word(pdev, PCI_COMMAND, &command);
		out->intx = !(command & PCI_COMMAND_INTX_DISABLE);
		pci_intx(pdev, 0);
	}
	if (pdev->msi_cap) {
		pci_read_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, &out->msi);
		pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
				      out->msi & ~PCI_MSI_FLAGS_ENABLE);
	}
	if (pdev->msix_cap) {
		pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				     &out->msix);
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				      out->msix | PCI_MSIX_FLAGS_MASKALL);
	}
}

static void signal_vectors(struct vfio_pci_core_device *vdev)
{
	unsigned int nr = 0;

	lockdep_assert_held(&vdev->igate);
	if (vdev->irq_type == VFIO_PCI_MSI_IRQ_INDEX ||
	    vdev->irq_type == VFIO_PCI_MSIX_IRQ_INDEX) {
		struct vfio_pci_irq_ctx *ctx;
		unsigned long vector;

		xa_for_each(&vdev->ctx, vector, ctx)
			nr = vector + 1;
	}
	if (nr)
		vfio_pci_set_irqs_ioctl(vdev, VFIO_IRQ_SET_DATA_NONE |
					VFIO_IRQ_SET_ACTION_TRIGGER,
					vdev->irq_type, 0, nr, NULL);
}

/*
 * The kexec was called off. VFIO's INTx may have been masked by its handler
 * meanwhile, as the line can be shared, or unmasked by an eventfd. So it is told to
 * mask and unmask it, after which the command register is what it takes it for; if
 * the device asserts INTx its eventfd is signalled once more.
 */
static void unmask_intx(struct vfio_pci_core_device *vdev)
{
	lockdep_assert_held(&vdev->igate);
	if (vdev->irq_type != VFIO_PCI_INTX_IRQ_INDEX || !vdev->pci_2_3) {
		pci_intx(vdev->pdev, 1);
		return;
	}
	vfio_pci_set_irqs_ioctl(vdev, VFIO_IRQ_SET_DATA_NONE |
				VFIO_IRQ_SET_ACTION_MASK,
				VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL);
	vfio_pci_set_irqs_ioctl(vdev, VFIO_IRQ_SET_DATA_NONE |
				VFIO_IRQ_SET_ACTION_UNMASK,
				VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL);
}

/* The kexec was called off: as before it, and no interrupt is lost. */
static void unmask_interrupts(struct outgoing_device *out)
{
	struct pci_dev *pdev = out->pdev;

	if (pdev->msix_cap)
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				      out->msix);
	if (pdev->msi_cap)
		pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, out->msi);
	if (out->intx)
		unmask_intx(out->vdev);
	/* A pending MSI-X interrupt comes by itself; an MSI may have been lost. */
	if (out->msi & PCI_MSI_FLAGS_ENABLE)
		signal_vectors(out->vdev);
}

/*
 * A task that unbinds or removes the device holds its lock and waits for the
 * preserved file to be closed: for ever, and device_shutdown() would wait for it.
 */
static int check_stays(struct pci_dev *pdev)
{
	unsigned long end = jiffies + msecs_to_jiffies(1000);

	while (!device_trylock(&pdev->dev)) {
		if (time_after(jiffies, end))
			return refuse(pdev, -EBUSY, "it is being unbound or removed");
		usleep_range(50, 200);
	}
	device_unlock(&pdev->dev);
	if (!pci_device_is_present(pdev))
		return refuse(pdev, -ENODEV, "it does not answer any more");
	return 0;
}

/* Nobody arms an interrupt any more. */
static int lock_interrupts(struct outgoing_device *out)
{
	unsigned long end = jiffies + msecs_to_jiffies(1000);

	while (!mutex_trylock(&out->vdev->igate)) {
		if (time_after(jiffies, end))
			return refuse(out->pdev, -EBUSY, "its interrupts do not stop changing");
		usleep_range(50, 200);
	}
	return 0;
}

/*
 * From here on VFIO neither suspends nor resumes it, both of which take igate.
 * User space may have put it to sleep by its own register, too: the next kernel
 * would wake it up, and not know what is to be restored then.
 */
static int power_up(struct outgoing_device *out)
{
	struct device *dev = &out->pdev->dev;
	int ret;

	ret = pm_runtime_resume_and_get(dev);
	if (!ret) {
		scoped_guard(rwsem_write, &out->vdev->memory_lock)
			ret = vfio_pci_set_power_state(out->vdev, PCI_D0);
		if (ret)
			pm_runtime_put(dev);
	}
	if (ret)
		return refuse(out->pdev, -EIO, "it does not leave its low-power state");
	return 0;
}

int vfio_pci_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct outgoing_device *out = args->private_data;
	struct device *dev = &out->pdev->dev;
	struct iommu_domain *domain;
	ktime_t start = ktime_get();
	int ret;

	ret = power_up(out);
	if (ret)
		return ret;
	ret = check_stays(out->pdev) ?:
	      check_function(out->pdev) ?:
	      vfio_pci_luo_check_next_kernel(out->pdev, true) ?:
	      lock_interrupts(out);
	if (ret)
		goto err_put;
	domain = iommufd_liveupdate_freeze(out->idev);
	if (IS_ERR(domain)) {
		ret = refuse_tables(out->pdev, PTR_ERR(domain));
		goto err_unlock;
	}
	ret = vtd_liveupdate_freeze(dev, domain, out->ser);
	if (ret) {
		refuse_tables(out->pdev, ret);
		goto err_thaw;
	}
	mask_interrupts(out);
	scoped_guard(mutex, &outgoing_lock) {
		out->frozen = true;
		out->ser->flags |= VFIO_PCI_LUO_FROZEN;
		if (out->vdev->reset_works)
			out->ser->flags |= VFIO_PCI_LUO_RESET_WORKS;
	}
	pci_info(out->pdev, "liveupdate: frozen in %lld us\n",
		 ktime_us_delta(ktime_get(), start));
	return 0;

err_thaw:
	/* The kexec is off: LUO unfreezes the devices before this one. */
	vtd_liveupdate_drop_tables();
	iommufd_liveupdate_thaw(out->idev);
err_unlock:
	mutex_unlock(&out->vdev->igate);
err_put:
	pm_runtime_put(dev);
	return ret;
}

void vfio_pci_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct outgoing_device *out = args->private_data;

	scoped_guard(mutex, &outgoing_lock) {
		out->frozen = false;
		out->ser->flags = 0;
	}
	/*
	 * Of all devices, as tables are shared: LUO unfreezes the others too, and
	 * none was thawed before this one.
	 */
	vtd_liveupdate_drop_tables();
	unmask_interrupts(out);
	iommufd_liveupdate_thaw(out->idev);
	mutex_unlock(&out->vdev->igate);
	pm_runtime_put(&out->pdev->dev);
}

/**
 * vfio_pci_liveupdate_keeps_master() - Says whether bus mastering stays on.
 * @pdev: A device or bridge.
 *
 * Context: Hook in pci_device_shutdown(), in a kexec.
 * Return: true for a frozen device and for all bridges above one.
 */
bool vfio_pci_liveupdate_keeps_master(struct pci_dev *pdev)
{
	struct outgoing_device *out;

	guard(mutex)(&outgoing_lock);
	list_for_each_entry(out, &outgoing_devices, list)
		if (out->frozen &&
		    (out->pdev == pdev ||
		     vfio_pci_luo_is_above(pdev, out->ser->segment,
					   out->ser->bus)))
			return true;
	return false;
}

/**
 * vfio_pci_liveupdate_outgoing_rid() - Says whether a context entry stays.
 * @iommu_reg: The IOMMU.
 * @bus:       The requester's bus.
 * @devfn:     Its device and function number.
 *
 * Context: Only after all other CPUs were stopped, so it takes no lock.
 * Return: true for a frozen device's.
 */
bool vfio_pci_liveupdate_outgoing_rid(u64 iommu_reg, u8 bus, u8 devfn)
{
	struct outgoing_device *out;

	list_for_each_entry(out, &outgoing_devices, list)
		if (out->frozen && out->ser->iommu_reg == iommu_reg &&
		    out->ser->bus == bus && out->ser->devfn == devfn)
			return true;
	return false;
}

/**
 * vfio_pci_liveupdate_outgoing_iommu() - Says whether an IOMMU stays on.
 * @iommu_reg: The IOMMU.
 *
 * Context: as vfio_pci_liveupdate_outgoing_rid().
 * Return: true with a frozen device behind it.
 */
bool vfio_pci_liveupdate_outgoing_iommu(u64 iommu_reg)
{
	struct outgoing_device *out;

	list_for_each_entry(out, &outgoing_devices, list)
		if (out->frozen && out->ser->iommu_reg == iommu_reg)
			return true;
	return false;
}
