#include "platform/memory_for_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "platform/page_size.h"
#include "platform/read_file.h"
#include "platform/system_error.h"

namespace ebb::platform {
namespace {

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

constexpr char kEnabled[] = "/sys/kernel/mm/transparent_hugepage/enabled";
constexpr char kSleepMillis[] =
    "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs";

absl::Status WriteFile(const std::string& path, absl::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(errno, absl::StrCat("open ", path));
  const ssize_t n = write(fd, text.data(), text.size());
  const int error = errno;
  close(fd);
  if (n == static_cast<ssize_t>(text.size())) return absl::OkStatus();
  return SystemError(n < 0 ? error : EIO, absl::StrCat("write ", text, " to ", path));
}

}  // namespace

absl::StatusOr<Bytes> ResidentIn(AddressRange range) {
  std::vector<unsigned char> pages(range.size.size() / PageSize().size());
  if (mincore(reinterpret_cast<void*>(range.begin), range.size.size(), pages.data()) != 0) {
    return MemoryError(errno, "look which pages are resident of", range, "a test");
  }
  int64_t resident = 0;
  for (const unsigned char page : pages) resident += page & 1;
  return PageSize() * resident;
}

absl::StatusOr<std::string> MappingFlags(uintptr_t address) {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/smaps");
  if (!text.ok()) return text.status();
  bool found = false;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    constexpr absl::string_view kFlags = "VmFlags:";
    if (found && line.substr(0, kFlags.size()) == kFlags) {
      return absl::StrCat(" ", absl::StripAsciiWhitespace(line.substr(kFlags.size())), " ");
    }
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(line.substr(0, line.find(' ')), absl::MaxSplits('-', 1));
    uint64_t begin = 0;
    uint64_t end = 0;
    if (absl::SimpleHexAtoi(ends.first, &begin) && absl::SimpleHexAtoi(ends.second, &end)) {
      found = begin <= address && address < end;
    }
  }
  return absl::NotFoundError(absl::StrCat("no mapping has flags for ", absl::Hex(address)));
}

absl::Status CollapseNow(AddressRange range) {
  if (madvise(reinterpret_cast<void*>(range.begin), range.size.size(), MADV_COLLAPSE) == 0) {
    return absl::OkStatus();
  }
  return MemoryError(errno, "put huge pages into", range, "a test");
}

absl::StatusOr<std::unique_ptr<KhugepagedInAHurry>> KhugepagedInAHurry::Start() {
  const absl::StatusOr<std::string> enabled = ReadFile(kEnabled);
  if (!enabled.ok()) return enabled.status();
  if (absl::StrContains(*enabled, "[never]")) {
    return absl::FailedPreconditionError(absl::StrCat("huge pages are switched off in ", kEnabled));
  }
  const absl::StatusOr<std::string> before = ReadFile(kSleepMillis);
  if (!before.ok()) return before.status();
  if (absl::Status status = WriteFile(kSleepMillis, "10"); !status.ok()) return status;
  return absl::WrapUnique(new KhugepagedInAHurry(*before));
}

KhugepagedInAHurry::~KhugepagedInAHurry() {
  const absl::Status status = WriteFile(kSleepMillis, before_);
  LOG_IF(ERROR, !status.ok()) << "a setting of the machine stays changed: " << status;
}

}  // namespace ebb::platform
