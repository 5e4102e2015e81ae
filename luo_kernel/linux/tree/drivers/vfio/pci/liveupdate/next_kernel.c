// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO PCI devices across a live update: whether the kernel that was loaded for
 * kexec will set up IOMMUs, interrupts and PCI as this one did.
 */
#include <linux/cleanup.h>
#include <linux/ctype.h>
#include <linux/init.h>
#include <linux/kexec.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vfio_pci_liveupdate.h>

#include "liveupdate.h"

/**
 * struct next_kernel - What is known of the kernel that was loaded for kexec.
 * @lock:    Protects the fields.
 * @image:   The image that kexec_file_load() read last, never dereferenced: it
 *           may have failed to load, or be gone, and another one may lie where
 *           it lay.
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
 * Whether the command line is that of the loaded image. Every image of
 * kexec_file_load() was remembered, and while it is loaded no other one has its
 * address. An image of kexec_load() was not, and has no KHO.
 */
static bool knows_loaded_image(void)
{
	lockdep_assert_held(&next_kernel.lock);
	return kexec_image && kexec_image->file_mode &&
	       kexec_image == next_kernel.image && next_kernel.cmdline;
}

/**
 * vfio_pci_luo_check_next_kernel() - Says whether the next kernel fits a device.
 * @pdev:           The device, for the log.
 * @must_be_loaded: Whether there has to be a next kernel by now. Then the caller
 *                  is in kernel_kexec(), so that the image stays.
 *
 * A next kernel in another mode could neither adopt the tables nor switch them
 * off in time. Its own command line is the only thing to be seen of it here.
 * Before the kexec the answer is a hint: the image can change at any time.
 *
 * Return: 0, or -EPROTO.
 */
int vfio_pci_luo_check_next_kernel(struct pci_dev *pdev, bool must_be_loaded)
{
	guard(mutex)(&next_kernel.lock);
	if (!must_be_loaded) {
		if (!kexec_image || kexec_image != next_kernel.image ||
		    !next_kernel.cmdline)
			return 0;
	} else if (!knows_loaded_image()) {
		pci_err(pdev, "liveupdate: refused: the next kernel's command line is not known, load it again\n");
		return -EPROTO;
	}
	if (!same_modes(saved_command_line, next_kernel.cmdline)) {
		pci_err(pdev, "liveupdate: refused: the next kernel's options for IOMMU, interrupts or PCI are not this kernel's, in this order\n");
		return -EPROTO;
	}
	return 0;
}
