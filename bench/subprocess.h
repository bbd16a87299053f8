// RunSubprocess: a program of the system's, run to its end; and TemporaryDirectory, for its files.

#ifndef EBB_BENCH_SUBPROCESS_H_
#define EBB_BENCH_SUBPROCESS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ebb::bench {

// Runs arguments[0], which is looked for in PATH, with the other arguments. What it prints goes to
// the file `output`; an error, also when it exits with anything but 0, carries it. It is killed
// when the calling thread ends, so that an interrupted benchmark leaves nothing running.
absl::Status RunSubprocess(std::vector<std::string> arguments, const std::string& output);

// A new directory in TMPDIR or /tmp, removed with all that is in it.
class TemporaryDirectory {
 public:
  static absl::StatusOr<TemporaryDirectory> Make();
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_SUBPROCESS_H_
