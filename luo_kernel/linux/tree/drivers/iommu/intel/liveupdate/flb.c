// SPDX-License-Identifier: GPL-2.0
/*
 * Intel VT-d across a live update: the FLB, which lives while any device is
 * preserved.
 */
#include <linux/init.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/liveupdate.h>

#include "liveupdate.h"

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
