// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d across a live update, in the kernel that takes over.
 *
 * It copies root and context tables as a kdump kernel does, reserves the old
 * domain IDs and defers the attach of default domains. So a device goes on
 * translating by the old page tables. When user space attaches it to a page
 * table of its own, the context entry is replaced by one 16-byte write: at no
 * time is there none. Once no device uses old tables any more they are freed.
 *
 * Which devices these are, and in which state, is the business of
 * drivers/vfio/pci/liveupdate/.
 */
#define pr_fmt(fmt)	"DMAR: liveupdate: " fmt

#include <linux/cleanup.h>
#include <linux/cpufeature.h>
#include <linux/dmar.h>
#include <linux/iommu.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/kho_block.h>
#include <linux/liveupdate.h>
#include <linux/pci.h>

#include "../iommu.h"
#include "../pasid.h"
#include "liveupdate.h"

/* Set when the hardware may still read old tables: then they are never freed. */
static bool leak_tables;

/** vtd_liveupdate_leak() - Old tables may be in use for ever: never free them. */
void vtd_liveupdate_leak(void)
{
	WRITE_ONCE(leak_tables, true);
}

/**
 * intel_liveupdate_adopt() - Says whether an IOMMU's translation is to stay on.
 * @iommu: The IOMMU, which was found translating.
 *
 * Where the modes of the two kernels differ, copying the tables cannot work.
 * Then its devices' DMA is stopped before translation is.
 *
 * Context: In init_dmars(), before any domain ID is given out.
 * Return: true where tables of the previous kernel are to be adopted.
 */
bool intel_liveupdate_adopt(struct intel_iommu *iommu)
{
	const struct vfio_pci_luo_ser *ser;
	bool scalable, adopt = false;
	unsigned int i;

	scalable = readq(iommu->reg + DMAR_RTADDR_REG) & DMA_RTADDR_SMT;
	if (scalable != !!sm_supported(iommu)) {
		vfio_pci_liveupdate_abandon(iommu->reg_phys,
					    "the IOMMU's mode (legacy, scalable) changed");
		return false;
	}
	for (i = 0; (ser = vfio_pci_liveupdate_incoming_ser(i)); i++) {
		if (ser->iommu_reg != iommu->reg_phys)
			continue;
		adopt = true;
		/* Fails where two devices share one, which is fine. */
		ida_alloc_range(&iommu->domain_ida, ser->domain_id,
				ser->domain_id, GFP_KERNEL);
	}
	return adopt;
}

/**
 * intel_liveupdate_abandon() - Stops DMA before translation is switched off.
 * @iommu: The IOMMU.
 *
 * Context: Hook in iommu_disable_translation(). At boot only: later, and on the
 *          way to the next kernel, the PCI core stopped these devices.
 */
void intel_liveupdate_abandon(struct intel_iommu *iommu)
{
	if (system_state < SYSTEM_RUNNING)
		vfio_pci_liveupdate_abandon(iommu->reg_phys,
					    "this kernel switches translation off");
}

/**
 * intel_liveupdate_pending() - Says whether a device translates by old tables.
 * @dev: The device.
 *
 * Return: true if so, and this kernel drives its IOMMU.
 */
bool intel_liveupdate_pending(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return info && context_copied(info->iommu, info->bus, info->devfn) &&
	       vfio_pci_liveupdate_pending_ser(dev);
}

/**
 * intel_liveupdate_defer() - Says whether an attach is to be left undone.
 * @domain: The domain.
 * @dev:    The device.
 *
 * The IOMMU core defers the attach of a default domain until the first attach of
 * another one. But when vfio claims the device and lets it go again, because
 * its session was not retrieved, the default domain comes a second time. It must
 * not take the place of the old tables, least of all if it is the identity.
 *
 * Return: true for a pending device and its default domain.
 */
bool intel_liveupdate_defer(struct iommu_domain *domain, struct device *dev)
{
	return intel_liveupdate_pending(dev) &&
	       domain == iommu_get_dma_domain(dev);
}

static bool is_empty_table(void *table)
{
	return !memchr_inv(table, 0, PAGE_SIZE);
}

/* VT-d, "Guidance to Software for Invalidations". */
static void flush_device(struct intel_iommu *iommu,
			 const struct vfio_pci_luo_ser *ser)
{
	iommu->flush.flush_context(iommu, ser->domain_id,
				   PCI_DEVID(ser->bus, ser->devfn),
				   DMA_CCMD_MASK_NOBIT, DMA_CCMD_DEVICE_INVL);
	if (sm_supported(iommu))
		qi_flush_pasid_cache(iommu, ser->domain_id, QI_PC_ALL_PASIDS, 0);
	iommu->flush.flush_iotlb(iommu, ser->domain_id, 0, 0, DMA_TLB_DSI_FLUSH);
}

/*
 * The one step in which a device changes from the previous kernel's tables to
 * this one's: hardware sees the old entry or the new one.
 */
static int switch_context(struct device *dev, struct context_entry new)
{
	const struct vfio_pci_luo_ser *ser = vfio_pci_liveupdate_pending_ser(dev);
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	union {
		struct context_entry entry;
		u128 value;
	} from __aligned(16), to __aligned(16) = { .entry = new };
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *context;

	if (!system_has_cmpxchg128())
		return -EINVAL;
	if (!ser)
		return -EBUSY;		/* Just given up. */
	scoped_guard(spinlock, &iommu->lock) {
		if (!context_copied(iommu, info->bus, info->devfn))
			return -EBUSY;	/* And blocked. */
		context = iommu_context_addr(iommu, info->bus, info->devfn, 1);
		if (!context || !context_present(context))
			return -EINVAL;
		from.entry = *context;
		if (cmpxchg128((u128 *)context, from.value, to.value) != from.value)
			return -EBUSY;
		__iommu_flush_cache(iommu, context, sizeof(*context));
		clear_context_copied(iommu, info->bus, info->devfn);
		flush_device(iommu, ser);
	}
	vfio_pci_liveupdate_switched(dev);
	dev_info(dev, "translates by this kernel's tables now\n");
	return 0;
}

static int switch_legacy(struct dmar_domain *domain, struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct pt_iommu_vtdss_hw_info pt_info;
	struct context_entry new = {};

	pt_iommu_vtdss_hw_info(&domain->sspt, &pt_info);
	if (is_empty_table(phys_to_virt(pt_info.ssptptr)))
		return -ENODATA;
	context_set_domain_id(&new, domain_id_iommu(domain, info->iommu));
	context_set_address_root(&new, pt_info.ssptptr);
	context_set_address_width(&new, pt_info.aw);
	context_set_translation_type(&new, CONTEXT_TT_MULTI_LEVEL);
	context_set_fault_enable(&new);
	context_set_present(&new);
	return switch_context(dev, new);
}

/* The device's new PASID table points to the domain already. */
static int switch_scalable(struct dmar_domain *domain, struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct pt_iommu_x86_64_hw_info fs_info;
	struct pt_iommu_vtdss_hw_info ss_info;
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *old, new;
	unsigned int dir_bits;
	phys_addr_t top;

	if (domain->domain.ops == &intel_fs_paging_domain_ops) {
		pt_iommu_x86_64_hw_info(&domain->fspt, &fs_info);
		top = fs_info.gcr3_pt;
	} else {
		pt_iommu_vtdss_hw_info(&domain->sspt, &ss_info);
		top = ss_info.ssptptr;
	}
	if (is_empty_table(phys_to_virt(top)))
		return -ENODATA;

	scoped_guard(spinlock, &iommu->lock) {
		old = iommu_context_addr(iommu, info->bus, info->devfn, 1);
		if (!old)
			return -EINVAL;
		new = *old;
	}
	/* All else, such as PASID enable, depends on the device alone. */
	dir_bits = ilog2(info->pasid_table->max_pasid >> PASID_PDE_SHIFT);
	new.lo &= ~(VTD_PAGE_MASK | GENMASK_ULL(11, 9));
	new.lo |= virt_to_phys(info->pasid_table->table) |
		  context_pdts(dir_bits > 7 ? dir_bits - 7 : 0);
	return switch_context(dev, new);
}

/**
 * intel_liveupdate_switch() - Attaches a device that was pending.
 * @domain: The new domain, attached to the IOMMU.
 * @dev:    The device.
 *
 * Context: Hook in dmar_domain_attach_device(), the last step of it: what fails
 *          after the switch would leave the device blocked.
 * Return: 0, -ENODATA for a domain that maps nothing (see the README), -EBUSY
 *         when the device was given up at the same time, or -EINVAL.
 */
int intel_liveupdate_switch(struct dmar_domain *domain, struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return sm_supported(info->iommu) ? switch_scalable(domain, dev) :
					   switch_legacy(domain, dev);
}

static void block_context(struct intel_iommu *iommu,
			  const struct vfio_pci_luo_ser *ser)
{
	struct context_entry *context;

	guard(spinlock)(&iommu->lock);
	if (!context_copied(iommu, ser->bus, ser->devfn))
		return;
	context = iommu_context_addr(iommu, ser->bus, ser->devfn, 1);
	if (!context)
		return;
	context_clear_present(context);
	__iommu_flush_cache(iommu, context, sizeof(*context));
	flush_device(iommu, ser);
	context_clear_entry(context);
	__iommu_flush_cache(iommu, context, sizeof(*context));
	clear_context_copied(iommu, ser->bus, ser->devfn);
}

/**
 * vtd_liveupdate_block() - Ends a device's use of old tables: it reaches nothing.
 * @ser: What was handed over about it.
 * @dev: The device, or NULL when it is gone.
 *
 * Return: 0, also when it used none; -ENODEV when its IOMMU is not in use by
 *         this kernel, so that nothing is known; or an errno of setting up an
 *         empty PASID table, when it is blocked nevertheless.
 */
int vtd_liveupdate_block(const struct vfio_pci_luo_ser *ser, struct device *dev)
{
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;
	int ret = -ENODEV;

	down_read(&dmar_global_lock);
	for_each_active_iommu(iommu, drhd) {
		if (iommu->reg_phys != ser->iommu_reg)
			continue;
		block_context(iommu, ser);
		ret = 0;
		if (sm_supported(iommu) && dev && dev->iommu)
			ret = intel_pasid_setup_sm_context(dev);
		break;
	}
	up_read(&dmar_global_lock);
	return ret;
}

/**
 * vtd_liveupdate_attach_default() - Attaches the default domain after all.
 * @dev: The device, blocked and reset.
 *
 * A default domain that was deferred is attached by the first DMA mapping, but
 * not every kind of it has mappings. Taking the device's group and giving it back
 * attaches it, under the group's lock; who tries to bind the device in between
 * gets -EPERM.
 */
void vtd_liveupdate_attach_default(struct device *dev)
{
	int ret;

	if (!dev->iommu_group)
		return;		/* No IOMMU of this kernel translates for it. */
	ret = iommu_device_claim_dma_owner(dev, &leak_tables);
	if (ret == -EPERM)
		return;		/* vfio has it, and will attach what it wants. */
	if (ret)
		dev_err(dev, "liveupdate: cannot do DMA again (%d)\n", ret);
	else
		iommu_device_release_dma_owner(dev);
}

int vtd_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	args->obj = phys_to_virt(args->data);
	return 0;
}

/* Domain IDs of old tables that were reserved in intel_liveupdate_adopt(). */
static void release_domain_ids(struct intel_iommu *iommu)
{
	const struct vfio_pci_luo_ser *ser, *earlier;
	unsigned int i, j;

	for (i = 0; (ser = vfio_pci_liveupdate_incoming_ser(i)); i++) {
		if (ser->iommu_reg != iommu->reg_phys)
			continue;
		for (j = 0; j < i; j++) {
			earlier = vfio_pci_liveupdate_incoming_ser(j);
			if (earlier->iommu_reg == ser->iommu_reg &&
			    earlier->domain_id == ser->domain_id)
				break;
		}
		if (j == i)
			ida_free(&iommu->domain_ida, ser->domain_id);
	}
}

static bool is_incoming_iommu(struct intel_iommu *iommu)
{
	const struct vfio_pci_luo_ser *ser;
	unsigned int i;

	for (i = 0; (ser = vfio_pci_liveupdate_incoming_ser(i)); i++)
		if (ser->iommu_reg == iommu->reg_phys)
			return true;
	return false;
}

/* The last device was finished: no table of the old kernel is in use. */
void vtd_flb_finish(struct liveupdate_flb_op_args *args)
{
	struct vtd_luo_flb_ser *ser = args->obj;
	unsigned long freed = 0, lost = 0;
	struct dmar_drhd_unit *drhd;
	struct kho_block_set blocks;
	struct kho_block_set_it it;
	struct intel_iommu *iommu;
	struct folio *folio;
	u64 *table;

	if (leak_tables) {
		pr_err("hardware may still use the old tables: their %llu pages are lost\n",
		       ser->nr_tables);
		return;
	}
	down_read(&dmar_global_lock);
	for_each_active_iommu(iommu, drhd) {
		if (!is_incoming_iommu(iommu) || !iommu->copied_tables)
			continue;
		vtd_liveupdate_flush_all(iommu);
		release_domain_ids(iommu);
	}
	up_read(&dmar_global_lock);

	kho_block_set_init(&blocks, sizeof(u64));
	if (kho_block_set_restore(&blocks, ser->tables)) {
		pr_err("the list of old tables is damaged: their %llu pages are lost\n",
		       ser->nr_tables);
		return;
	}
	kho_block_set_it_init(&it, &blocks);
	while ((table = kho_block_set_it_read_entry(&it))) {
		folio = kho_restore_folio(*table);
		if (folio) {
			folio_put(folio);
			freed++;
		} else {
			lost++;
		}
	}
	kho_block_set_destroy(&blocks);
	kho_restore_free(ser);
	pr_info("freed %lu table pages of the previous kernel\n", freed);
	if (lost)
		pr_err("%lu table pages of the previous kernel are lost\n", lost);
}
