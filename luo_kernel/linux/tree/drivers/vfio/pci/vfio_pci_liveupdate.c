// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO PCI devices across a live update: the LUO file handler, and what keeps
 * the PCI core and vfio-pci from stopping or resetting a preserved device.
 *
 * The outgoing half runs in the kernel that is left, the incoming half in the
 * next one; a kernel in the middle of a chain of updates runs both.
 *
 * An incoming device goes through these states:
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
#include <linux/ctype.h>
#include <linux/delay.h>
#include <linux/eventfd.h>
#include <linux/init.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/liveupdate.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/spinlock.h>
#include <linux/vfio_pci_core.h>
#include <linux/vfio_pci_liveupdate.h>

#include "../../iommu/intel/liveupdate.h"
#include "../../iommu/iommufd/liveupdate.h"
#include "../vfio.h"
#include "vfio_pci_priv.h"

/* ---- outgoing ---- */

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
 * @command:   Its command register before interrupts were masked.
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
	u16 command;
	u16 msi;
	u16 msix;
};

static LIST_HEAD(outgoing_devices);
static DEFINE_MUTEX(outgoing_lock);

/**
 * struct next_kernel - What is known of the kernel that was loaded for kexec.
 * @lock:    Protects the fields.
 * @image:   The image that was loaded last, never dereferenced: it may have
 *           failed to load, or be gone.
 * @cmdline: Its command line.
 *
 * Lives as long as the kernel.
 */
struct next_kernel {
	struct mutex lock;	/* protects the fields */
	struct kimage *image;
	char *cmdline;
};

static struct next_kernel next_kernel = {
	.lock = __MUTEX_INITIALIZER(next_kernel.lock),
};

/**
 * vfio_pci_liveupdate_loaded() - Remembers a next kernel's command line.
 * @image: The image being loaded, its command line read and checked.
 *
 * Context: Hook in kimage_file_prepare_segments().
 */
void vfio_pci_liveupdate_loaded(struct kimage *image)
{
	guard(mutex)(&next_kernel.lock);
	if (image->type == KEXEC_TYPE_CRASH)
		return;
	kfree(next_kernel.cmdline);
	next_kernel.cmdline = kstrdup(image->cmdline_buf ?: "", GFP_KERNEL);
	next_kernel.image = image;
}

/*
 * Options that decide how the next kernel sets up IOMMUs, interrupt remapping
 * and PCI. Without SMP there is no IO-APIC, so no interrupt remapping. They may
 * stand in quotes, and '-' stands for '_', as ever.
 */
static const char * const mode_options[] = {
	"intel_iommu=", "iommu=", "iommu.passthrough=", "iommu.strict=",
	"intremap=", "nointremap", "nox2apic", "noapic", "nolapic", "nosmp",
	"maxcpus=0", "pci=", "pcie_ports=", "acpi=", "noacpi", "kho=", "liveupdate=",
};

/* An option ends where next_arg() ends it: at a space outside quotes. */
static size_t option_len(const char *at)
{
	bool quoted = false;
	size_t len;

	for (len = 0; at[len] && (quoted || !isspace(at[len])); len++)
		if (at[len] == '"')
			quoted = !quoted;
	return len;
}

static const char *next_mode_option(const char *at, size_t *len)
{
	int i;

	for (at = skip_spaces(at); *at; at = skip_spaces(at + *len)) {
		*len = option_len(at);
		for (i = 0; i < ARRAY_SIZE(mode_options); i++)
			if (parameqn(at + (*at == '"'), mode_options[i],
				     strlen(mode_options[i])))
				return at;
	}
	*len = 0;
	return NULL;
}

static bool same_modes(const char *ours, const char *theirs)
{
	size_t our_len, their_len;

	do {
		ours = next_mode_option(ours, &our_len);
		theirs = next_mode_option(theirs, &their_len);
		if (!ours || !theirs)
			return !ours && !theirs;
		if (our_len != their_len || strncmp(ours, theirs, our_len))
			return false;
		ours += our_len;
		theirs += their_len;
	} while (true);
}

/*
 * A next kernel in another mode could neither adopt the tables nor switch them
 * off in time. Its own command line is the only thing to be seen of it here.
 */
static int check_next_kernel(struct pci_dev *pdev, bool must_be_loaded)
{
	guard(mutex)(&next_kernel.lock);
	if (!kexec_image && !must_be_loaded)
		return 0;
	if (kexec_image != next_kernel.image || !next_kernel.cmdline) {
		if (!must_be_loaded)
			return 0;
		pci_err(pdev, "liveupdate: refused: the next kernel's command line is not known, load it again\n");
		return -EPROTO;
	}
	if (!same_modes(saved_command_line, next_kernel.cmdline)) {
		pci_err(pdev, "liveupdate: refused: the next kernel's options for IOMMU, interrupts or PCI are not this kernel's, in this order\n");
		return -EPROTO;
	}
	return 0;
}

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
	return ret;
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

	domain = iommufd_liveupdate_freeze(out->idev);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	ret = vtd_liveupdate_count(&out->pdev->dev, domain, &out->nr_tables);
	iommufd_liveupdate_thaw(out->idev);
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

static struct pci_driver *vfio_pci_driver(struct pci_dev *pdev)
{
	struct pci_driver *driver = pci_dev_driver(pdev);

	return driver && !strcmp(driver->name, "vfio-pci") ? driver : NULL;
}

static bool vfio_pci_luo_can_preserve(struct liveupdate_file_handler *handler,
				      struct file *file)
{
	struct vfio_device_file *df;

	if (file->f_op != &vfio_device_fops)
		return false;
	df = file->private_data;
	return !df->group && dev_is_pci(df->device->dev) &&
	       vfio_pci_driver(to_pci_dev(df->device->dev));
}

static int vfio_pci_luo_preserve(struct liveupdate_file_op_args *args)
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
	ret = check_next_kernel(pdev, false);
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

static void vfio_pci_luo_unpreserve(struct liveupdate_file_op_args *args)
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

	pci_read_config_word(pdev, PCI_COMMAND, &out->command);
	pci_write_config_word(pdev, PCI_COMMAND,
			      out->command | PCI_COMMAND_INTX_DISABLE);
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

/* The kexec was called off: as before it, and no interrupt is lost. */
static void unmask_interrupts(struct outgoing_device *out)
{
	struct pci_dev *pdev = out->pdev;

	if (pdev->msix_cap)
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				      out->msix);
	if (pdev->msi_cap)
		pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, out->msi);
	pci_write_config_word(pdev, PCI_COMMAND, out->command);
	/* A pending MSI-X interrupt comes by itself; an MSI may have been lost. */
	if (out->msi & PCI_MSI_FLAGS_ENABLE)
		signal_vectors(out->vdev);
}

static int vfio_pci_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct outgoing_device *out = args->private_data;
	unsigned long end = jiffies + msecs_to_jiffies(1000);
	struct iommu_domain *domain;
	ktime_t start = ktime_get();
	bool others = false;
	int ret;

	ret = check_function(out->pdev);
	if (ret)
		return ret;
	ret = check_next_kernel(out->pdev, true);
	if (ret)
		return ret;
	/* Nobody arms an interrupt any more. */
	while (!mutex_trylock(&out->vdev->igate)) {
		if (time_after(jiffies, end))
			return refuse(out->pdev, -EBUSY, "its interrupts do not stop changing");
		usleep_range(50, 200);
	}
	domain = iommufd_liveupdate_freeze(out->idev);
	if (IS_ERR(domain)) {
		ret = refuse_tables(out->pdev, PTR_ERR(domain));
		goto err_unlock;
	}
	ret = vtd_liveupdate_freeze(&out->pdev->dev, domain, out->ser);
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
	iommufd_liveupdate_thaw(out->idev);
	scoped_guard(mutex, &outgoing_lock) {
		struct outgoing_device *other;

		list_for_each_entry(other, &outgoing_devices, list)
			others |= other->frozen;
	}
	if (!others)
		vtd_liveupdate_drop_tables();
err_unlock:
	mutex_unlock(&out->vdev->igate);
	return ret;
}

static void vfio_pci_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct outgoing_device *out = args->private_data;
	struct outgoing_device *other;
	bool others = false;

	scoped_guard(mutex, &outgoing_lock) {
		out->frozen = false;
		out->ser->flags = 0;
		list_for_each_entry(other, &outgoing_devices, list)
			others |= other->frozen;
	}
	/* Tables are shared; LUO unfreezes all devices, and the last one drops them. */
	if (!others)
		vtd_liveupdate_drop_tables();
	unmask_interrupts(out);
	iommufd_liveupdate_thaw(out->idev);
	mutex_unlock(&out->vdev->igate);
}

/* Devices and bridges above them, by device; called late and seldom. */
static bool is_above(struct pci_dev *bridge, int segment, u8 bus)
{
	return bridge->subordinate && pci_domain_nr(bridge->bus) == segment &&
	       bridge->subordinate->number <= bus &&
	       bridge->subordinate->busn_res.end >= bus;
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
		     is_above(pdev, out->ser->segment, out->ser->bus)))
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

/* ---- incoming ---- */

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
 * @signalled:  The interrupt vectors that were signalled since; likewise.
 *
 * Made before the PCI scan, for each device of the chain, and kept for good.
 */
struct incoming_device {
	struct vfio_pci_luo_ser ser;
	phys_addr_t ser_phys;
	enum incoming_state state;
	bool powered;
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
		    is_above(pdev, incoming_devices[i].ser.segment,
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

	if (!in)
		return 0;
	switch (incoming_state(in)) {
	case PENDING:
		pci_info(vdev->pdev, "liveupdate: not opened, it waits for its session\n");
		return -EBUSY;
	case RETRIEVED:
		return 1;
	default:
		return 0;
	}
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
	if (!vfio_pci_driver(pdev)) {
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

static int vfio_pci_luo_retrieve(struct liveupdate_file_op_args *args)
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

static bool vfio_pci_luo_can_finish(struct liveupdate_file_op_args *args)
{
	/* A session must be able to end whatever became of its device. */
	return true;
}

static void vfio_pci_luo_finish(struct liveupdate_file_op_args *args)
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
	power_put(in, pdev);
	pci_dev_put(pdev);
	kho_restore_free(phys_to_virt(in->ser_phys));
}

static unsigned long vfio_pci_luo_get_id(struct file *file)
{
	struct vfio_device_file *df = file->private_data;

	return (unsigned long)df->device;
}

static const struct liveupdate_file_ops vfio_pci_luo_ops = {
	.can_preserve = vfio_pci_luo_can_preserve,
	.preserve = vfio_pci_luo_preserve,
	.unpreserve = vfio_pci_luo_unpreserve,
	.freeze = vfio_pci_luo_freeze,
	.unfreeze = vfio_pci_luo_unfreeze,
	.retrieve = vfio_pci_luo_retrieve,
	.can_finish = vfio_pci_luo_can_finish,
	.finish = vfio_pci_luo_finish,
	.get_id = vfio_pci_luo_get_id,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler vfio_pci_luo_handler = {
	.ops = &vfio_pci_luo_ops,
	.compatible = VFIO_PCI_LUO_FH_COMPATIBLE,
};

/*
 * As soon as the PCI scan finds the device: no driver but vfio-pci is to bind
 * it, and power management is not to touch it.
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

static int __init vfio_pci_luo_init(void)
{
	int ret;

	ret = liveupdate_register_file_handler(&vfio_pci_luo_handler);
	if (!ret)
		ret = liveupdate_register_flb(&vfio_pci_luo_handler,
					      &vtd_liveupdate_flb);
	if (ret && ret != -EOPNOTSUPP)
		pr_err("cannot register with LUO: %pe\n", ERR_PTR(ret));
	return ret == -EOPNOTSUPP ? 0 : ret;
}
late_initcall(vfio_pci_luo_init);
