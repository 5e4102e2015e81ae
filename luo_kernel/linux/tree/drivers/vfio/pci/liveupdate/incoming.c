// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO PCI devices across a live update, in the kernel that takes over: what
 * keeps vfio-pci and the PCI core from stopping or resetting a device that came
 * from the previous kernel, and what becomes of it.
 *
 * A device goes through these states:
 *
 *   PENDING -> RETRIEVED -> SWITCHED -> DONE
 *       \________|_____________|
 *                v
 *            RELEASED
 *
 * PENDING: it does DMA by the previous kernel's tables; only vfio-pci binds it
 * and nobody can open it but through its session. RETRIEVED: user space has its
 * file. SWITCHED: user space attached it to a page table of this kernel. DONE:
 * its session was finished. RELEASED: it was given up, that is blocked and
 * reset, or its DMA stopped at boot. In DONE and RELEASED it is a device like
 * any other.
 */
#define pr_fmt(fmt)	"vfio-pci: liveupdate: " fmt

#include <linux/anon_inodes.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/liveupdate.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vfio_pci_core.h>
#include <linux/vfio_pci_liveupdate.h>

#include "../../../iommu/intel/liveupdate/liveupdate.h"
#include "../../vfio.h"
#include "../vfio_pci_priv.h"
#include "liveupdate.h"

/**
 * enum incoming_state - See the top of this file.
 * @PENDING:   Uses old tables, not retrieved.
 * @RETRIEVED: Uses old tables, its file was given to user space.
 * @SWITCHED:  Uses this kernel's tables.
 * @DONE:      Its session was finished.
 * @RELEASED:  It was given up.
 */
enum incoming_state {
	PENDING,
	RETRIEVED,
	SWITCHED,
	DONE,
	RELEASED,
};

#define NO_VECTORS	(PCI_MSIX_FLAGS_QSIZE + 1)

/**
 * struct incoming_device - A device that came from the previous kernel.
 * @ser:        What was handed over about it (a copy).
 * @ser_phys:   Where that is in preserved memory; freed at finish.
 * @state:      Where it is on its way; protected by incoming_lock.
 * @powered:    Whether a runtime-PM reference keeps it in D0; likewise.
 * @enabled:    Whether one count of its enable_cnt is ours; likewise.
 * @signalled:  The interrupt vectors that were signalled since; likewise.
 *
 * Made before the PCI scan, for each device of the chain, and kept for good.
 */
struct incoming_device {
	struct vfio_pci_luo_ser ser;
	phys_addr_t ser_phys;
	enum incoming_state state;
	bool powered;
	bool enabled;
	DECLARE_BITMAP(signalled, NO_VECTORS);
};

/* Both are set once, before there is a second thread. */
static struct incoming_device *incoming_devices;
static unsigned int nr_incoming_devices;
static DEFINE_SPINLOCK(incoming_lock);

static bool is_incoming(const struct incoming_device *in, struct pci_dev *pdev)
{
	return in->ser.segment == pci_domain_nr(pdev->bus) &&
	       in->ser.bus == pdev->bus->number && in->ser.devfn == pdev->devfn &&
	       in->ser.vendor == pdev->vendor && in->ser.device == pdev->device;
}

static struct incoming_device *find_incoming(struct pci_dev *pdev)
{
	unsigned int i;

	for (i = 0; i < nr_incoming_devices; i++)
		if (is_incoming(&incoming_devices[i], pdev))
			return &incoming_devices[i];
	return NULL;
}

static enum incoming_state incoming_state(struct incoming_device *in)
{
	guard(spinlock_irqsave)(&incoming_lock);
	return in->state;
}

/* Returns the state before. */
static enum incoming_state set_incoming_state(struct incoming_device *in,
					      enum incoming_state state)
{
	guard(spinlock_irqsave)(&incoming_lock);
	return xchg(&in->state, state);
}

static bool is_pending(struct incoming_device *in)
{
	return in && incoming_state(in) <= RETRIEVED;
}

/* The caller puts the device. */
static struct pci_dev *get_incoming_pdev(const struct incoming_device *in)
{
	struct pci_dev *pdev;

	pdev = pci_get_domain_bus_and_slot(in->ser.segment, in->ser.bus,
					   in->ser.devfn);
	if (pdev && !is_incoming(in, pdev)) {
		pci_dev_put(pdev);
		return NULL;
	}
	return pdev;
}

/**
 * vfio_pci_liveupdate_incoming_ser() - An incoming device.
 * @i: Its index.
 *
 * Return: What was handed over about it, in whatever state it is; NULL when
 *         there are no more than @i.
 */
const struct vfio_pci_luo_ser *vfio_pci_liveupdate_incoming_ser(unsigned int i)
{
	return i < nr_incoming_devices ? &incoming_devices[i].ser : NULL;
}

/**
 * vfio_pci_liveupdate_pending_ser() - A device, if it may use old tables.
 * @dev: The device.
 *
 * Return: What was handed over about it, or NULL for any other device.
 */
const struct vfio_pci_luo_ser *vfio_pci_liveupdate_pending_ser(struct device *dev)
{
	struct incoming_device *in;

	if (!nr_incoming_devices || !dev_is_pci(dev))
		return NULL;
	in = find_incoming(to_pci_dev(dev));
	return is_pending(in) ? &in->ser : NULL;
}

/**
 * vfio_pci_liveupdate_switched() - Says that a device uses this kernel's tables.
 * @dev: The device, which was pending.
 */
void vfio_pci_liveupdate_switched(struct device *dev)
{
	struct incoming_device *in = find_incoming(to_pci_dev(dev));

	guard(spinlock_irqsave)(&incoming_lock);
	if (in->state <= RETRIEVED)
		in->state = SWITCHED;
}

static void power_put(struct incoming_device *in, struct pci_dev *pdev)
{
	bool powered;

	scoped_guard(spinlock_irqsave, &incoming_lock) {
		powered = in->powered;
		in->powered = false;
	}
	if (powered && pdev)
		pm_runtime_put(&pdev->dev);
}

/*
 * To the PCI core the device is enabled from the start, until it is opened: else
 * quirks that enable a device to look into it end its bus mastering when they
 * disable it.
 */
static void enabled_get(struct incoming_device *in, struct pci_dev *pdev)
{
	atomic_inc(&pdev->enable_cnt);
	guard(spinlock_irqsave)(&incoming_lock);
	in->enabled = true;
}

static void enabled_put(struct incoming_device *in, struct pci_dev *pdev)
{
	bool enabled;

	scoped_guard(spinlock_irqsave, &incoming_lock) {
		enabled = in->enabled;
		in->enabled = false;
	}
	if (enabled && pdev)
		atomic_dec(&pdev->enable_cnt);
}

/**
 * vfio_pci_liveupdate_abandon() - Stops the DMA of devices that cannot be kept.
 * @iommu_reg: Of the devices behind this IOMMU.
 * @why:       For the log.
 *
 * Context: At boot, after the PCI scan, before translation is switched off.
 */
void vfio_pci_liveupdate_abandon(u64 iommu_reg, const char *why)
{
	struct incoming_device *in;
	struct pci_dev *pdev;
	unsigned int i;

	for (i = 0; i < nr_incoming_devices; i++) {
		in = &incoming_devices[i];
		if (in->ser.iommu_reg != iommu_reg || !is_pending(in))
			continue;
		pdev = get_incoming_pdev(in);
		if (pdev) {
			pci_clear_master(pdev);
			pci_err(pdev, "liveupdate: its DMA is stopped: %s\n", why);
		}
		set_incoming_state(in, RELEASED);
		enabled_put(in, pdev);
		power_put(in, pdev);
		pci_dev_put(pdev);
	}
}

/**
 * vfio_pci_liveupdate_upstream() - Says whether a bridge is above one of these.
 * @pdev: A bridge.
 *
 * Context: Hook in pcie_port_device_register(), which ends bus mastering of
 *          ports that need none for themselves.
 * Return: true above a pending device.
 */
bool vfio_pci_liveupdate_upstream(struct pci_dev *pdev)
{
	unsigned int i;

	for (i = 0; i < nr_incoming_devices; i++)
		if (is_pending(&incoming_devices[i]) &&
		    vfio_pci_luo_is_above(pdev, incoming_devices[i].ser.segment,
					  incoming_devices[i].ser.bus))
			return true;
	return false;
}

/**
 * vfio_pci_liveupdate_enable() - Says how vfio-pci is to open a device.
 * @vdev: The device.
 *
 * Context: Hook in vfio_pci_core_enable().
 * Return: 0 as any device; 1 without clearing bus mastering, enabling INTx, or
 *         a reset; -EBUSY not at all, for it waits for its session.
 */
int vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev)
{
	struct incoming_device *in = find_incoming(vdev->pdev);
	enum incoming_state state;

	if (!in)
		return 0;
	state = incoming_state(in);
	if (state == PENDING) {
		pci_info(vdev->pdev, "liveupdate: not opened, it waits for its session\n");
		return -EBUSY;
	}
	/* The caller enables it for real. */
	enabled_put(in, vdev->pdev);
	return state == RETRIEVED;
}

/**
 * vfio_pci_liveupdate_pending() - Says whether a device may use old tables.
 * @vdev: The device.
 *
 * Context: Hook in vfio_pci_dev_set_needs_reset(): the reset of a bus, when the
 *          last open device on it is closed, would stop one that nobody opened yet.
 * Return: true for a device that was not attached, and not given up.
 */
bool vfio_pci_liveupdate_pending(struct vfio_pci_core_device *vdev)
{
	return is_pending(find_incoming(vdev->pdev));
}

/**
 * vfio_pci_liveupdate_saved() - Stands in for the reset of a device opened.
 * @vdev: The device, whose state was not saved yet.
 *
 * The state that vfio-pci restores when the device is closed must not include
 * bus mastering.
 *
 * Context: Hook in vfio_pci_core_enable(), for a device kept.
 * Return: As pci_try_reset_function() would, by the previous kernel's word.
 */
int vfio_pci_liveupdate_saved(struct vfio_pci_core_device *vdev)
{
	struct incoming_device *in = find_incoming(vdev->pdev);

	return in && (in->ser.flags & VFIO_PCI_LUO_RESET_WORKS) ? 0 : -ENOTTY;
}

/**
 * vfio_pci_liveupdate_armed() - Makes up for interrupts that came in between.
 * @vdev:    The device.
 * @vector:  Its MSI or MSI-X vector, now with a handler.
 * @trigger: The vector's eventfd.
 *
 * Context: Hook in vfio_msi_set_vector_signal().
 */
void vfio_pci_liveupdate_armed(struct vfio_pci_core_device *vdev,
			       unsigned int vector, struct eventfd_ctx *trigger)
{
	struct incoming_device *in;

	if (!nr_incoming_devices)
		return;
	in = find_incoming(vdev->pdev);
	if (!in || vector >= NO_VECTORS)
		return;
	scoped_guard(spinlock_irqsave, &incoming_lock)
		if (in->state == PENDING || in->state == RELEASED ||
		    __test_and_set_bit(vector, in->signalled))
			return;
	eventfd_signal(trigger);
}

static struct incoming_device *incoming_of(u64 serialized_data)
{
	unsigned int i;

	for (i = 0; i < nr_incoming_devices; i++)
		if (incoming_devices[i].ser_phys == serialized_data)
			return &incoming_devices[i];
	return NULL;
}

static struct file *vfio_device_getfile(struct vfio_device *device)
{
	struct vfio_device_file *df;
	struct file *file;

	if (!vfio_device_try_get_registration(device))
		return ERR_PTR(-ENODEV);
	df = vfio_allocate_device_file(device);
	if (IS_ERR(df)) {
		file = ERR_CAST(df);
		goto err_put;
	}
	file = anon_inode_getfile_fmode("[vfio-device]", &vfio_device_fops, df,
					O_RDWR, FMODE_PREAD | FMODE_PWRITE);
	if (IS_ERR(file)) {
		kfree(df);
		goto err_put;
	}
	/* As vfio_device_fops_cdev_open() does: all mappings of the device. */
	file->f_mapping = device->inode->i_mapping;
	return file;

err_put:
	vfio_device_put_registration(device);
	return file;
}

static int retrieve_from(struct incoming_device *in, struct pci_dev *pdev,
			 struct file **filep)
{
	struct vfio_pci_core_device *vdev;
	struct file *file;
	int i;

	if (incoming_state(in) != PENDING) {
		pci_err(pdev, "liveupdate: not retrieved: its DMA was stopped\n");
		return -ENOLINK;
	}
	if (!intel_liveupdate_pending(&pdev->dev)) {
		pci_err(pdev, "liveupdate: not retrieved: this kernel has no IOMMU for it\n");
		return -ENOLINK;
	}
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		if (in->ser.bar[i] == pci_resource_start(pdev, i))
			continue;
		pci_err(pdev, "liveupdate: not retrieved: BAR %d moved from %#llx\n",
			i, in->ser.bar[i]);
		return -EADDRNOTAVAIL;
	}
	guard(device)(&pdev->dev);
	if (!vfio_pci_luo_is_bound(pdev)) {
		pci_err(pdev, "liveupdate: not retrieved: vfio-pci is not bound\n");
		return -EBUSY;
	}
	vdev = pci_get_drvdata(pdev);
	file = vfio_device_getfile(&vdev->vdev);
	if (IS_ERR(file))
		return PTR_ERR(file);
	set_incoming_state(in, RETRIEVED);
	*filep = file;
	return 0;
}

int vfio_pci_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct incoming_device *in = incoming_of(args->serialized_data);
	struct pci_dev *pdev;
	int ret;

	if (!in)
		return -ENOENT;
	pdev = get_incoming_pdev(in);
	if (!pdev) {
		pr_err("%04x:%02x:%02x.%d is not there any more\n",
		       in->ser.segment, in->ser.bus, PCI_SLOT(in->ser.devfn),
		       PCI_FUNC(in->ser.devfn));
		return -ENODEV;
	}
	ret = retrieve_from(in, pdev, &args->file);
	pci_dev_put(pdev);
	return ret;
}

/*
 * User space died, or did not come, or came to nothing: the device goes on
 * writing to memory that nobody asked for any more. It must not, before that
 * memory and the tables are given back.
 */
static void give_up(struct incoming_device *in, struct vfio_pci_core_device *vdev)
{
	struct pci_dev *pdev = get_incoming_pdev(in);
	const char *state = "blocked";
	int ret;

	if (pdev)
		pci_clear_master(pdev);
	ret = vtd_liveupdate_block(&in->ser, pdev ? &pdev->dev : NULL);
	if (ret == -ENODEV) {
		vtd_liveupdate_leak();
		state = "its IOMMU is not driven";
	}
	if (!pdev) {
		pr_warn("%04x:%02x:%02x.%d was not taken over and is gone\n",
			in->ser.segment, in->ser.bus, PCI_SLOT(in->ser.devfn),
			PCI_FUNC(in->ser.devfn));
		return;
	}
	if (ret && ret != -ENODEV)
		pci_err(pdev, "liveupdate: blocked, but without a PASID table (%d)\n",
			ret);
	if (vdev) {
		/* Someone has the file, perhaps its BARs. */
		vfio_pci_zap_and_down_write_memory_lock(vdev);
		/* VFIO knows what to restore, should it sleep. */
		vfio_pci_set_power_state(vdev, PCI_D0);
		ret = pci_try_reset_function(pdev);
		up_write(&vdev->memory_lock);
	} else {
		ret = pci_try_reset_function(pdev);
	}
	vtd_liveupdate_attach_default(&pdev->dev);
	pci_warn(pdev, "liveupdate: not taken over: %s, and %s (%d)\n", state,
		 ret ? "not reset" : "reset", ret);
	pci_dev_put(pdev);
}

bool vfio_pci_luo_can_finish(struct liveupdate_file_op_args *args)
{
	/* A session must be able to end whatever became of its device. */
	return true;
}

void vfio_pci_luo_finish(struct liveupdate_file_op_args *args)
{
	struct incoming_device *in = incoming_of(args->serialized_data);
	struct vfio_pci_core_device *vdev = NULL;
	enum incoming_state before;
	struct pci_dev *pdev;

	if (WARN_ON(!in))
		return;
	if (args->file) {
		struct vfio_device_file *df = args->file->private_data;

		vdev = container_of(df->device, struct vfio_pci_core_device, vdev);
	}
	scoped_guard(spinlock_irqsave, &incoming_lock) {
		before = in->state;
		in->state = before == SWITCHED ? DONE : RELEASED;
	}
	if (before <= RETRIEVED)
		give_up(in, vdev);
	pdev = get_incoming_pdev(in);
	enabled_put(in, pdev);
	power_put(in, pdev);
	pci_dev_put(pdev);
	kho_restore_free(phys_to_virt(in->ser_phys));
}

/*
 * As soon as the PCI scan finds the device, before its final quirks: no driver but
 * vfio-pci is to bind it, and neither power management nor a quirk is to stop it.
 */
static int vfio_pci_luo_device_added(struct notifier_block *nb,
				     unsigned long action, void *data)
{
	struct device *dev = data;
	struct incoming_device *in;

	if (action != BUS_NOTIFY_ADD_DEVICE)
		return NOTIFY_DONE;
	in = find_incoming(to_pci_dev(dev));
	if (!is_pending(in))
		return NOTIFY_DONE;
	if (device_set_driver_override(dev, "vfio-pci"))
		pci_err(to_pci_dev(dev), "liveupdate: any driver may bind\n");
	enabled_get(in, to_pci_dev(dev));
	pm_runtime_get_noresume(dev);
	scoped_guard(spinlock_irqsave, &incoming_lock)
		in->powered = true;
	pci_info(to_pci_dev(dev), "liveupdate: kept by the previous kernel\n");
	return NOTIFY_OK;
}

static struct notifier_block vfio_pci_luo_notifier = {
	.notifier_call = vfio_pci_luo_device_added,
};

/* Before the PCI scan, a subsys_initcall. */
static int __init vfio_pci_luo_incoming(void)
{
	struct vfio_pci_luo_ser *ser;
	struct vtd_luo_flb_ser *flb;
	u64 phys;

	if (vtd_liveupdate_incoming(&flb) || !flb->nr_devices)
		return 0;
	incoming_devices = kzalloc_objs(*incoming_devices, flb->nr_devices);
	if (!incoming_devices)
		panic("no memory for devices that were handed over and do DMA\n");
	for (phys = flb->first_device;
	     phys && nr_incoming_devices < flb->nr_devices; phys = ser->next) {
		struct incoming_device *in = &incoming_devices[nr_incoming_devices++];

		ser = phys_to_virt(phys);
		in->ser = *ser;
		in->ser_phys = phys;
		if (!(ser->flags & VFIO_PCI_LUO_FROZEN))
			in->state = RELEASED;
	}
	pr_info("%u devices and %llu table pages of the previous kernel\n",
		nr_incoming_devices, flb->nr_tables);
	return bus_register_notifier(&pci_bus_type, &vfio_pci_luo_notifier);
}
arch_initcall(vfio_pci_luo_incoming);
