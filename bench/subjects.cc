#include "bench/subjects.h"

#include "absl/strings/strip.h"
#include "bench/dynamic_library.h"
#include "bench/jvm_peer.h"
#include "bench/malloc_functions.h"
#include "heap/load_barrier.h"

namespace ebb::bench {

const std::vector<std::string>& LibraryPeers() {
  static const auto* const peers = new std::vector<std::string>{
      "boehm",    "boehm-default",   "boehm-incremental", "glibc",          "glibc-shared",
      "mimalloc", "mimalloc-shared", "jemalloc",          "jemalloc-shared"};
  return *peers;
}

std::vector<std::string> LibraryPeersWithoutCounts() {
  std::vector<std::string> peers = LibraryPeers();
  std::erase_if(peers, [](const std::string& peer) { return absl::EndsWith(peer, "-shared"); });
  return peers;
}

const std::vector<std::string>& Peers() {
  static const auto* const peers = [] {
    auto* const made = new std::vector<std::string>(LibraryPeers());
    made->insert(made->end(), JvmPeers().begin(), JvmPeers().end());
    made->emplace_back(kNoBarrier);
    return made;
  }();
  return *peers;
}

absl::Status CheckPeer(const std::string& name) {
  if (name == kNoBarrier) {
    if (!ebb::internal::kHasLoadBarrier) return absl::OkStatus();
    return absl::UnavailableError("this program has load barriers; bench/run builds one without");
  }
  if (IsJvmPeer(name)) return CheckJvmPeer(name);
  if (absl::StartsWith(name, "boehm")) {
    return DynamicLibrary::Open("libgc.so.1", "libgc-dev").status();
  }
  return MallocFunctions::Open(absl::StripSuffix(name, "-shared")).status();
}

bool HasHeapSize(const std::string& name) {
  return name == "ebb" || name == kNoBarrier || name == "boehm" || name == "boehm-incremental" ||
         IsJvmPeer(name);
}

}  // namespace ebb::bench
