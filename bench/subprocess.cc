#include "bench/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace ebb::bench {
namespace {

constexpr int kCannotStart = 127;  // as a shell's

// In the child, where only what is async-signal-safe may be called.
[[noreturn]] void Become(char* const* arguments, int output) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execvp(arguments[0], arguments);
  _exit(kCannotStart);
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return absl::StrCat("killed by signal ", WTERMSIG(status));
  if (WEXITSTATUS(status) == kCannotStart) return "not installed, or cannot be started";
  return absl::StrCat("exit status ", WEXITSTATUS(status));
}

std::string Text(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

}  // namespace

absl::Status RunSubprocess(std::vector<std::string> arguments, const std::string& output) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const int file = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", output));
  const pid_t pid = fork();
  if (pid == 0) Become(pointers.data(), file);
  const int error = errno;
  close(file);
  if (pid < 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", arguments[0]));
  int status = 0;
  pid_t ended = 0;
  do {
    ended = waitpid(pid, &status, 0);
  } while (ended < 0 && errno == EINTR);
  if (ended < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot wait for ", arguments[0]));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  const std::string printed(absl::StripAsciiWhitespace(Text(output)));
  return absl::InternalError(absl::StrCat(arguments[0], ": ", HowItEnded(status),
                                          printed.empty() ? "" : ", output: ", printed));
}

absl::StatusOr<TemporaryDirectory> TemporaryDirectory::Make() {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::temp_directory_path(error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("no directory for temporary files: ", error.message()));
  }
  std::string path = parent / "ebb_bench.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make a directory ", path));
  }
  return TemporaryDirectory(std::move(path));
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // what cannot be removed stays
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace ebb::bench
