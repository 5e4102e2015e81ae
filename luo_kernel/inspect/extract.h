// Takes the contents of preserved memfds out of physical memory, into files: what a guest's RAM
// held can be had from the image of a machine that is no more.
//
//   ASSIGN_OR_RETURN(ExtractedFiles files, ExtractFiles(memory, report, "/var/tmp/contents"));
//
// A file goes to FOLDER/HANDOVER/SESSION/TOKEN, all in hexadecimal but the session, whose bytes are
// kept where they are letters, digits, '-', '_' or '.', and are %XX elsewhere; one of no known
// session goes to FOLDER/HANDOVER/at-ADDRESS. Holes stay holes.
// What a file's folios do not cover or what cannot be read is a hole, too, and a problem in the
// report.
#ifndef LUO_KERNEL_INSPECT_EXTRACT_H_
#define LUO_KERNEL_INSPECT_EXTRACT_H_

#include <stdint.h>

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// {address of the memfd's structure: path}.
using ExtractedFiles = std::map<uint64_t, std::string>;

// `folder` is made where it is not there; files in it are written anew. An error of the folder or
// of writing ends it.
absl::StatusOr<ExtractedFiles> ExtractFiles(const PhysicalReader& memory, Report& report,
                                            const std::string& folder);

// The session's part of a path.
std::string SessionFolder(const std::string& session);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_EXTRACT_H_
