// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d across a live update: translation stays on for the devices that
 * are preserved, from the running kernel's tables to the next kernel's.
 *
 * Before the kexec: a preserved device's tables (root, context, PASID, page
 * tables) are walked from the context entry, as hardware does, and every page
 * is preserved by KHO and listed in the FLB. At shutdown the IOMMU is left on,
 * and the context entries of all other devices are cleared.
 *
 * After it: the next kernel copies root and context tables as a kdump kernel
 * does, reserves the old domain IDs and defers the attach of default domains.
 * So the device goes on translating by the old page tables. When user space
 * attaches it to a page table of its own, the context entry is replaced by one
 * 16-byte write: at no time is there none. Once no device uses old tables any
 * more they are freed.
 *
 * Which devices these are, and in which state, is the business of
 * drivers/vfio/pci/vfio_pci_liveupdate.c.
 */
#define pr_fmt(fmt)	"DMAR: liveupdate: " fmt

#include <linux/cpufeature.h>
#include <linux/dmar.h>
#include <linux/iommu.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/kho_block.h>
#include <linux/liveupdate.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/xarray.h>

#include "../iommu-pages.h"
#include "iommu.h"
#include "liveupdate.h"
#include "pasid.h"

/* What a kho_block_set holds: 10000 blocks of a page, less their headers. */
#define TABLES_LIMIT	(10000UL * ((PAGE_SIZE - 16) / sizeof(u64)))

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "vtd_liveupdate."

static unsigned long max_tables = TABLES_LIMIT;
module_param(max_tables, ulong, 0644);
MODULE_PARM_DESC(max_tables, "Table pages that may be handed over to the next kernel");

/**
 * struct vtd_outgoing - What is handed over to the next kernel.
 * @lock:   Protects all fields.
 * @ser:    The FLB's data, in preserved memory; NULL while no device is
 *          preserved.
 * @pages:  The tables listed so far, by PFN: tables are shared between devices
 *          and each is to be listed once.
 * @blocks: The list, in preserved memory; filled at freeze.
 * @end:    Where the next entry goes.
 *
 * Lives as long as the kernel; @pages and @blocks are empty but from the first
 * freeze of a device to the end of the kernel, or to the thaw of the last one.
 */
struct vtd_outgoing {
	struct mutex lock;	/* protects all fields */
	struct vtd_luo_flb_ser *ser;
	struct xarray pages;
	struct kho_block_set blocks;
	struct kho_block_set_it end;
};

static struct vtd_outgoing outgoing = {
	.lock = __MUTEX_INITIALIZER(outgoing.lock),
	.pages = XARRAY_INIT(outgoing.pages, 0),
	.blocks = KHO_BLOCK_SET_INIT(outgoing.blocks, sizeof(u64)),
};

/* Set when the hardware may still read old tables: then they are never freed. */
static bool leak_tables;

/**
 * struct table_walk - A walk over all tables hardware reads for one device.
 * @visit: Called for each table, the parent before its children. Returns 0, an
 *         errno that ends the walk, or 1 where the children were seen before.
 * @nr:    How many tables were seen.
 *
 * Lives on the walker's stack.
 */
struct table_walk {
	int (*visit)(struct table_walk *walk, void *table);
	unsigned long nr;
};

static int visit_count(struct table_walk *walk, void *table)
{
	return ++walk->nr > max_tables ? -EFBIG : 0;
}

/* Each of these steps takes constant time, whatever was listed before. */
static int visit_preserve(struct table_walk *walk, void *table)
{
	struct vtd_luo_flb_ser *ser = outgoing.ser;
	u64 *entry;
	int ret;

	lockdep_assert_held(&outgoing.lock);
	walk->nr++;
	ret = xa_insert(&outgoing.pages, PHYS_PFN(virt_to_phys(table)),
			xa_mk_value(0), GFP_KERNEL);
	if (ret)
		return ret == -EBUSY ? 1 : ret;
	if (ser->nr_tables >= max_tables) {
		ret = -EFBIG;
		goto err_erase;
	}
	ret = kho_block_set_grow(&outgoing.blocks, ser->nr_tables + 1);
	if (ret)
		goto err_erase;
	if (!ser->nr_tables)
		kho_block_set_it_init(&outgoing.end, &outgoing.blocks);
	ret = kho_preserve_folio(virt_to_folio(table));
	if (ret)
		goto err_shrink;
	entry = kho_block_set_it_reserve_entry(&outgoing.end);
	*entry = virt_to_phys(table);
	ser->nr_tables++;
	ser->tables = kho_block_set_head_pa(&outgoing.blocks);
	return 0;

err_shrink:
	kho_block_set_shrink(&outgoing.blocks, ser->nr_tables);
err_erase:
	xa_erase(&outgoing.pages, PHYS_PFN(virt_to_phys(table)));
	return ret;
}

/*
 * First and second stage tables differ here in the bits that make an entry
 * present only. @level is 1 for tables of 4 KiB pages.
 */
static int walk_page_table(struct table_walk *walk, u64 *table, int level,
			   u64 present)
{
	int ret, i;

	ret = walk->visit(walk, table);
	if (ret || level == 1)
		return min(ret, 0);
	for (i = 0; i < PAGE_SIZE / sizeof(u64); i++) {
		u64 entry = READ_ONCE(table[i]);

		if (!(entry & present) || (entry & BIT_ULL(7)))
			continue;
		ret = walk_page_table(walk,
				      phys_to_virt(entry & GENMASK_ULL(51, 12)),
				      level - 1, present);
		if (ret)
			return ret;
	}
	cond_resched();
	return 0;
}

/* Legacy mode: context -> page table. Scalable: -> PASID directory -> table -> */
static int walk_context(struct table_walk *walk, struct intel_iommu *iommu,
			struct context_entry *context, u16 *did)
{
	struct pasid_dir_entry *dir;
	struct pasid_entry *entry;
	int i, ret;

	ret = walk->visit(walk, iommu->root_entry);
	if (ret >= 0)
		ret = walk->visit(walk, PTR_ALIGN_DOWN((void *)context, PAGE_SIZE));
	if (ret < 0)
		return ret;

	if (!sm_supported(iommu)) {
		if (context->lo & GENMASK_ULL(3, 2))
			return -EDOM;	/* Pass-through, or with device TLB. */
		*did = context_domain_id(context);
		return walk_page_table(walk,
				       phys_to_virt(context->lo & VTD_PAGE_MASK),
				       (context->hi & 7) + 2,
				       DMA_PTE_READ | DMA_PTE_WRITE);
	}

	dir = phys_to_virt(context->lo & VTD_PAGE_MASK);
	for (i = 1; i < get_pasid_dir_size(context); i++)
		if (pasid_pde_is_present(&dir[i]))
			return -EPROTONOSUPPORT;
	entry = get_pasid_table_from_pde(&dir[0]);
	if (!entry || !pasid_pte_is_present(entry))
		return -ENOTCONN;
	for (i = 1; i < PASID_TBL_ENTRIES; i++)
		if (pasid_pte_is_present(&entry[i]))
			return -EPROTONOSUPPORT;
	ret = walk->visit(walk, dir);
	if (ret >= 0)
		ret = walk->visit(walk, entry);
	if (ret < 0)
		return ret;
	*did = pasid_get_domain_id(entry);
	switch (pasid_pte_get_pgtt(entry)) {
	case PASID_ENTRY_PGTT_SL_ONLY:
		return walk_page_table(walk,
				       phys_to_virt(entry->val[0] & VTD_PAGE_MASK),
				       ((entry->val[0] >> 2) & 7) + 2,
				       DMA_PTE_READ | DMA_PTE_WRITE);
	case PASID_ENTRY_PGTT_FL_ONLY:
		return walk_page_table(walk,
				       phys_to_virt(entry->val[2] & VTD_PAGE_MASK),
				       ((entry->val[2] >> 2) & 3) + 4, BIT_ULL(0));
	default:
		return -EDOM;
	}
}

static int walk_device(struct table_walk *walk, struct device *dev, u16 *did)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *context;

	spin_lock(&iommu->lock);
	context = iommu_context_addr(iommu, info->bus, info->devfn, 0);
	spin_unlock(&iommu->lock);
	/* Nobody clears it: the page table it points to is frozen. */
	if (!context || !context_present(context))
		return -ENOTCONN;
	return walk_context(walk, iommu, context, did);
}

/**
 * vtd_liveupdate_check() - Says whether VT-d can hand a device over.
 * @dev: The device.
 *
 * Return: 0, or
 *         -ENODEV            it is not behind an Intel IOMMU,
 *         -EPROTONOSUPPORT   ATS or PRI is in use,
 *         -EADDRINUSE        firmware reserved regions for it (RMRR),
 *         -ENXIO            the CPU cannot write 16 bytes at once.
 */
int vtd_liveupdate_check(struct device *dev)
{
	struct iommu_resv_region *region;
	struct device_domain_info *info;
	LIST_HEAD(regions);
	int ret = 0;

	if (!dev->iommu || !dev->iommu->iommu_dev ||
	    dev->iommu->iommu_dev->ops != &intel_iommu_ops)
		return -ENODEV;
	info = dev_iommu_priv_get(dev);
	if (info->ats_enabled || info->pri_enabled)
		return -EPROTONOSUPPORT;
	if (!system_has_cmpxchg128())
		return -ENXIO;
	iommu_get_resv_regions(dev, &regions);
	list_for_each_entry(region, &regions, list)
		if (region->type == IOMMU_RESV_DIRECT ||
		    region->type == IOMMU_RESV_DIRECT_RELAXABLE)
			ret = -EADDRINUSE;
	iommu_put_resv_regions(dev, &regions);
	return ret;
}

/**
 * vtd_liveupdate_count() - Counts a device's tables.
 * @dev:       The device; vtd_liveupdate_check() said 0.
 * @domain:    Its domain, which nothing changes meanwhile.
 * @nr_tables: The result.
 *
 * Return: 0, -EFBIG above max_tables, -EDOM for a kind of domain that cannot be
 *         handed over, -ENOTCONN without a domain, -EPROTONOSUPPORT with PASIDs.
 */
int vtd_liveupdate_count(struct device *dev, struct iommu_domain *domain,
			 unsigned long *nr_tables)
{
	struct table_walk walk = { .visit = visit_count };
	u16 did;
	int ret;

	if (domain->ops != &intel_ss_paging_domain_ops &&
	    domain->ops != &intel_fs_paging_domain_ops)
		return -EDOM;
	ret = walk_device(&walk, dev, &did);
	*nr_tables = walk.nr;
	return ret;
}

/**
 * vtd_liveupdate_freeze() - Preserves a device's tables.
 * @dev:    The device; vtd_liveupdate_check() said 0.
 * @domain: Its domain, which nothing changes from now on.
 * @ser:    Where iommu_reg, domain_id and flags are filled in.
 *
 * Return: 0, or an errno of vtd_liveupdate_count(), KHO's, or -ENOMEM. Then
 *         tables may have been preserved: vtd_liveupdate_drop_tables().
 */
int vtd_liveupdate_freeze(struct device *dev, struct iommu_domain *domain,
			  struct vfio_pci_luo_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct table_walk walk = { .visit = visit_preserve };
	u16 did;
	int ret;

	guard(mutex)(&outgoing.lock);
	ret = walk_device(&walk, dev, &did);
	if (ret)
		return ret;
	ser->iommu_reg = info->iommu->reg_phys;
	ser->domain_id = did;
	if (sm_supported(info->iommu))
		ser->flags |= VFIO_PCI_LUO_SCALABLE;
	return 0;
}

/**
 * vtd_liveupdate_drop_tables() - Undoes all of vtd_liveupdate_freeze().
 */
void vtd_liveupdate_drop_tables(void)
{
	unsigned long pfn;
	void *entry;

	guard(mutex)(&outgoing.lock);
	xa_for_each(&outgoing.pages, pfn, entry)
		kho_unpreserve_folio(pfn_folio(pfn));
	xa_destroy(&outgoing.pages);
	kho_block_set_destroy(&outgoing.blocks);
	if (outgoing.ser) {
		outgoing.ser->tables = 0;
		outgoing.ser->nr_tables = 0;
	}
}

/** vtd_liveupdate_max_tables() - How many tables can be handed over in all. */
unsigned long vtd_liveupdate_max_tables(void)
{
	return min(max_tables, TABLES_LIMIT);
}

/** vtd_liveupdate_outgoing() - The FLB's data while a device is preserved. */
struct vtd_luo_flb_ser *vtd_liveupdate_outgoing(void)
{
	return outgoing.ser;
}

/* ---- hooks of the running kernel ---- */

static unsigned int clear_others(struct intel_iommu *iommu, u64 table, u8 bus,
				 int first, int nr)
{
	int size = sm_supported(iommu) ? 2 : 1;
	struct context_entry *context;
	unsigned int kept = 0;
	int i;

	if (!(table & 1))
		return 0;
	context = phys_to_virt(table & VTD_PAGE_MASK);
	for (i = 0; i < nr; i++, context += size) {
		if (!context_present(context))
			continue;
		if (vfio_pci_liveupdate_outgoing_rid(iommu->reg_phys, bus,
						     first + i)) {
			kept++;
			continue;
		}
		context_clear_entry(context);
		__iommu_flush_cache(iommu, context, sizeof(*context));
	}
	return kept;
}

/**
 * intel_liveupdate_shutdown() - Leaves an IOMMU on for preserved devices.
 * @iommu: The IOMMU.
 *
 * Every device that is not preserved loses its context entry, so that it can
 * reach nothing any more; mainline would have switched translation off.
 *
 * Context: In machine_shutdown(); no other CPU runs.
 * Return: false where no preserved device is behind it.
 */
bool intel_liveupdate_shutdown(struct intel_iommu *iommu)
{
	unsigned int kept = 0;
	int bus;

	if (!vfio_pci_liveupdate_outgoing_iommu(iommu->reg_phys))
		return false;
	for (bus = 0; bus < 256; bus++) {
		struct root_entry *root = &iommu->root_entry[bus];

		if (sm_supported(iommu)) {
			kept += clear_others(iommu, root->lo, bus, 0, 128);
			kept += clear_others(iommu, root->hi, bus, 128, 128);
		} else {
			kept += clear_others(iommu, root->lo, bus, 0, 256);
		}
	}
	iommu->flush.flush_context(iommu, 0, 0, 0, DMA_CCMD_GLOBAL_INVL);
	if (sm_supported(iommu))
		qi_flush_pasid_cache(iommu, 0, QI_PC_GLOBAL, 0);
	iommu->flush.flush_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH);
	pr_info("%s goes on translating for %u devices\n", iommu->name, kept);
	return true;
}

/* ---- FLB ---- */

static int vtd_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct vtd_luo_flb_ser *ser = kho_alloc_preserve(sizeof(*ser));

	if (IS_ERR(ser))
		return PTR_ERR(ser);
	memset(ser, 0, sizeof(*ser));
	guard(mutex)(&outgoing.lock);
	outgoing.ser = ser;
	args->obj = ser;
	args->data = virt_to_phys(ser);
	return 0;
}

static void vtd_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	vtd_liveupdate_drop_tables();
	guard(mutex)(&outgoing.lock);
	outgoing.ser = NULL;
	kho_unpreserve_free(args->obj);
}

static int vtd_flb_retrieve(struct liveupdate_flb_op_args *args)
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
static void vtd_flb_finish(struct liveupdate_flb_op_args *args)
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
		iommu->flush.flush_context(iommu, 0, 0, 0, DMA_CCMD_GLOBAL_INVL);
		if (sm_supported(iommu))
			qi_flush_pasid_cache(iommu, 0, QI_PC_GLOBAL, 0);
		iommu->flush.flush_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH);
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

static const struct liveupdate_flb_ops vtd_flb_ops = {
	.preserve = vtd_flb_preserve,
	.unpreserve = vtd_flb_unpreserve,
	.retrieve = vtd_flb_retrieve,
	.finish = vtd_flb_finish,
	.owner = THIS_MODULE,
};

struct liveupdate_flb vtd_liveupdate_flb = {
	.ops = &vtd_flb_ops,
	.compatible = VTD_LUO_FLB_COMPATIBLE,
};

/**
 * vtd_liveupdate_incoming() - What the previous kernel handed over.
 * @serp: The result.
 *
 * LUO keeps it until the last device is finished.
 *
 * Context: Once, before the PCI scan.
 * Return: 0, or -ENODATA, -ENOENT or -EOPNOTSUPP when there is nothing.
 */
int vtd_liveupdate_incoming(struct vtd_luo_flb_ser **serp)
{
	void *obj;
	int ret;

	ret = liveupdate_flb_get_incoming(&vtd_liveupdate_flb, &obj);
	if (ret)
		return ret;
	*serp = obj;
	liveupdate_flb_put_incoming(&vtd_liveupdate_flb);
	return 0;
}

/** vtd_liveupdate_leak() - Old tables may be in use for ever: never free them. */
void vtd_liveupdate_leak(void)
{
	WRITE_ONCE(leak_tables, true);
}

/**
 * vtd_liveupdate_attach_default() - Attaches the default domain after all.
 * @dev: The device, blocked and reset.
 *
 * A default domain that was deferred is attached by the first DMA mapping, but
 * not every kind of it has mappings.
 */
void vtd_liveupdate_attach_default(struct device *dev)
{
	struct iommu_domain *domain;

	if (!dev->iommu_group)
		return;		/* No IOMMU of this kernel translates for it. */
	domain = iommu_get_dma_domain(dev);
	if (!domain || iommu_get_domain_for_dev(dev) != domain)
		return;		/* vfio has it, and will attach what it wants. */
	dev->iommu->attach_deferred = 1;
	if (iommu_deferred_attach(dev, domain))
		dev_err(dev, "liveupdate: cannot do DMA again\n");
}

/* ---- hooks of the next kernel ---- */

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

	if (!ser || !system_has_cmpxchg128())
		return -EINVAL;
	scoped_guard(spinlock, &iommu->lock) {
		if (!context_copied(iommu, info->bus, info->devfn))
			return -EBUSY;	/* Just blocked. */
		context = iommu_context_addr(iommu, info->bus, info->devfn, 1);
		if (!context || !context_present(context))
			return -EINVAL;
		from.entry = *context;
		if (cmpxchg128((u128 *)context, from.value, to.value) != from.value)
			return -EBUSY;
		__iommu_flush_cache(iommu, context, sizeof(*context));
		clear_context_copied(iommu, info->bus, info->devfn);
		/* VT-d, "Guidance to Software for Invalidations". */
		iommu->flush.flush_context(iommu, ser->domain_id,
					   PCI_DEVID(info->bus, info->devfn),
					   DMA_CCMD_MASK_NOBIT,
					   DMA_CCMD_DEVICE_INVL);
		if (sm_supported(iommu))
			qi_flush_pasid_cache(iommu, ser->domain_id,
					     QI_PC_ALL_PASIDS, 0);
		iommu->flush.flush_iotlb(iommu, ser->domain_id, 0, 0,
					 DMA_TLB_DSI_FLUSH);
	}
	vfio_pci_liveupdate_switched(dev);
	dev_info(dev, "translates by this kernel's tables now\n");
	return 0;
}

/**
 * intel_liveupdate_switch_legacy() - Attaches a pending device, legacy mode.
 * @domain: The new domain, attached to the IOMMU.
 * @dev:    The device.
 *
 * Return: 0, -ENODATA for a domain that maps nothing (see the README), -EBUSY
 *         when the device was given up at the same time, or -EINVAL.
 */
int intel_liveupdate_switch_legacy(struct dmar_domain *domain,
				   struct device *dev)
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

/**
 * intel_liveupdate_switch_scalable() - Attaches a pending device, scalable mode.
 * @domain: The new domain, which the device's new PASID table points to already.
 * @dev:    The device.
 *
 * Return: 0, also for a device that is not pending or not in that mode; else as
 *         intel_liveupdate_switch_legacy().
 */
int intel_liveupdate_switch_scalable(struct dmar_domain *domain,
				     struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct pt_iommu_x86_64_hw_info fs_info;
	struct pt_iommu_vtdss_hw_info ss_info;
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *old, new;
	unsigned int dir_bits;
	phys_addr_t top;

	if (!sm_supported(iommu) || !intel_liveupdate_pending(dev))
		return 0;
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
	iommu->flush.flush_context(iommu, ser->domain_id,
				   PCI_DEVID(ser->bus, ser->devfn),
				   DMA_CCMD_MASK_NOBIT, DMA_CCMD_DEVICE_INVL);
	if (sm_supported(iommu))
		qi_flush_pasid_cache(iommu, ser->domain_id, QI_PC_ALL_PASIDS, 0);
	iommu->flush.flush_iotlb(iommu, ser->domain_id, 0, 0, DMA_TLB_DSI_FLUSH);
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
