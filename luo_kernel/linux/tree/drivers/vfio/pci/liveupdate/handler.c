// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO PCI devices across a live update: the LUO file handler.
 *
 * The outgoing half runs in the kernel that is left, the incoming half in the
 * next one; a kernel in the middle of a chain of updates runs both.
 */
#define pr_fmt(fmt)	"vfio-pci: liveupdate: " fmt

#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/liveupdate.h>
#include <linux/pci.h>

#include "../../../iommu/intel/liveupdate/liveupdate.h"
#include "../../vfio.h"
#include "liveupdate.h"

static bool vfio_pci_luo_can_preserve(struct liveupdate_file_handler *handler,
				      struct file *file)
{
	struct vfio_device_file *df;

	if (file->f_op != &vfio_device_fops)
		return false;
	df = file->private_data;
	return !df->group && dev_is_pci(df->device->dev) &&
	       vfio_pci_luo_is_bound(to_pci_dev(df->device->dev));
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
