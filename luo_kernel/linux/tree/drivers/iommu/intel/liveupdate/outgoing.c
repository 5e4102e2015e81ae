// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d across a live update, in the kernel that is left.
 *
 * At freeze a preserved device's tables (root, context, PASID, page tables) are
 * walked from the context entry, as hardware does, and every page is preserved
 * by KHO and listed in the FLB. At shutdown the IOMMU is left on, and the context
 * and root entries of all other devices are cleared.
 *
 * Which devices these are is the business of drivers/vfio/pci/liveupdate/.
 */
#define pr_fmt(fmt)	"DMAR: liveupdate: " fmt

#include <linux/cpufeature.h>
#include <linux/iommu.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/kho_block.h>
#include <linux/liveupdate.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include "../../iommu-pages.h"
#include "../iommu.h"
#include "../pasid.h"
#include "liveupdate.h"

/* What a kho_block_set holds: 10000 blocks of a page, less their headers. */
#define TABLES_LIMIT	(10000UL * ((PAGE_SIZE - 16) / sizeof(u64)))

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
 *
 * Context: While the page tables of all devices are held still: once one changes,
 *          pages listed here may be freed.
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

/*
 * @table is half of a root entry. A context table that keeps a device's entry
 * was preserved with that device. Any other one is free memory in the next
 * kernel: neither hardware nor that kernel may find it.
 */
static unsigned int clear_others(struct intel_iommu *iommu, u64 *table, u8 bus,
				 int first, int nr)
{
	int size = sm_supported(iommu) ? 2 : 1;
	struct context_entry *context;
	unsigned int kept = 0;
	int i;

	if (!(*table & 1))
		return 0;
	context = phys_to_virt(*table & VTD_PAGE_MASK);
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
	if (!kept) {
		WRITE_ONCE(*table, 0);
		__iommu_flush_cache(iommu, table, sizeof(*table));
	}
	return kept;
}

/**
 * vtd_liveupdate_flush_all() - Flushes all caches of an IOMMU.
 * @iommu: The IOMMU.
 */
void vtd_liveupdate_flush_all(struct intel_iommu *iommu)
{
	iommu->flush.flush_context(iommu, 0, 0, 0, DMA_CCMD_GLOBAL_INVL);
	if (sm_supported(iommu))
		qi_flush_pasid_cache(iommu, 0, QI_PC_GLOBAL, 0);
	iommu->flush.flush_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH);
}

/**
 * intel_liveupdate_shutdown() - Leaves an IOMMU on for preserved devices.
 * @iommu: The IOMMU.
 *
 * Every device that is not preserved loses its context entry, and a context
 * table without any its root entry, so that these devices can reach nothing any
 * more and nothing points to memory that is not preserved; mainline would have
 * switched translation off.
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
			kept += clear_others(iommu, &root->lo, bus, 0, 128);
			kept += clear_others(iommu, &root->hi, bus, 128, 128);
		} else {
			kept += clear_others(iommu, &root->lo, bus, 0, 256);
		}
	}
	vtd_liveupdate_flush_all(iommu);
	pr_info("%s goes on translating for %u devices\n", iommu->name, kept);
	return true;
}

int vtd_flb_preserve(struct liveupdate_flb_op_args *args)
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

void vtd_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	vtd_liveupdate_drop_tables();
	guard(mutex)(&outgoing.lock);
	outgoing.ser = NULL;
	kho_unpreserve_free(args->obj);
}
