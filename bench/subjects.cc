#include "bench/subjects.h"

#include "absl/strings/strip.h"
#include "bench/dynamic_library.h"
#include "bench/jvm_peer.h"
#include "bench/malloc_functions.h"

namespace ebb::bench {

const std::vector<std::string>& LibraryPeers() {
  static const auto* const peers = new std::vector<std::string>{
      "boehm",    "boehm-default",   "boehm-incremental", "glibc",          "glibc-shared",
      "mimalloc", "mimalloc-shared", "jemalloc",          "jemalloc-shared"};
  return *peers;
}

const std::vector<std::string>& Peers() {
  static const auto* const peers = [] {
    auto* const made = new std::vector<std::string>(LibraryPeers());
    made->insert(made->end(), JvmPeers().begin(), JvmPeers().end());
    return made;
  }();
  return *peers;
}

absl::Status CheckPeer(const std::string& name) {
  if (IsJvmPeer(name)) return CheckJvmPeer(name);
  if (absl::StartsWith(name, "boehm")) {
    return DynamicLibrary::Open("libgc.so.1", "libgc-dev").status();
  }
  return MallocFunctions::Open(absl::StripSuffix(name, "-shared")).status();
}

bool HasHeapSize(const std::string& name) {
  return name == "ebb" || name == "boehm" || name == "boehm-incremental" || IsJvmPeer(name);
}

}  // namespace ebb::bench
