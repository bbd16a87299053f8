#include "bench/run_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/subjects.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

constexpr int kTickMs = 250;

// This process's environment, and what a subject needs on top.
std::vector<std::string> EnvironmentFor(const std::string& subject) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  // Debian's jemalloc wants more static TLS than glibc keeps for libraries that are opened late.
  if (absl::StartsWith(subject, "jemalloc")) {
    environment.push_back("GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384");
  }
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// This one, but for a peer that is another. (Where that is not known, CheckPeer says so first.)
std::string ProgramFor(const std::string& subject) {
  const char* other = subject == kNoBarrier ? getenv(kNoBarrierProgram) : nullptr;
  return other != nullptr ? other : "/proc/self/exe";
}

// Starts the subject's program with its standard output on `write_end`.
absl::StatusOr<pid_t> Spawn(const std::string& subject, const char* flag, const std::string& value,
                            int read_end, int write_end) {
  std::vector<std::string> arguments = {"ebb_bench", flag, value};
  std::vector<std::string> environment = EnvironmentFor(subject);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, write_end, STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, read_end);
  posix_spawn_file_actions_addclose(&actions, write_end);
  const std::string program = ProgramFor(subject);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, nullptr,
                                Pointers(arguments).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", program));
  return pid;
}

// All that comes through `fd` until it is closed at the other end.
std::string ReadAll(int fd, const std::function<void()>& tick) {
  std::string all;
  while (true) {
    pollfd waiting = {.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = poll(&waiting, 1, kTickMs);
    tick();
    if (ready <= 0) continue;  // time for a tick, or a signal
    char buffer[4096];
    const ssize_t bytes = read(fd, buffer, sizeof(buffer));
    if (bytes > 0) all.append(buffer, static_cast<size_t>(bytes));
    if (bytes == 0 || (bytes < 0 && errno != EINTR)) return all;
  }
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return absl::StrCat("killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)),
                        ")");
  }
  return absl::StrCat("exit status ", WEXITSTATUS(status));
}

struct Ended {
  int status = 0;  // as waitpid gives it
  std::string output;
};

// Runs this program again with one flag and its value, to its end.
absl::StatusOr<Ended> RunAgain(const std::string& subject, const char* flag,
                               const std::string& value, const std::function<void()>& tick) {
  int ends[2];
  if (pipe(ends) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  absl::StatusOr<pid_t> pid = Spawn(subject, flag, value, ends[0], ends[1]);
  close(ends[1]);
  Ended ended;
  if (pid.ok()) ended.output = absl::StripTrailingAsciiWhitespace(ReadAll(ends[0], tick));
  close(ends[0]);
  if (!pid.ok()) return pid.status();
  while (waitpid(*pid, &ended.status, 0) < 0 && errno == EINTR) {
  }
  return ended;
}

}  // namespace

absl::StatusOr<Record> RunProcess(const RunSpec& spec, const std::function<void()>& tick) {
  absl::StatusOr<Ended> ended = RunAgain(spec.subject, kOneRunFlag, spec.ToString(), tick);
  if (!ended.ok()) return ended.status();
  absl::StatusOr<Record> record = Record::FromJson(ended->output);
  if (ended->status == 0 && record.ok()) return record;
  return absl::InternalError(absl::StrCat(spec.Title(), " failed: ", HowItEnded(ended->status),
                                          ended->output.empty() ? "" : ", output: ",
                                          ended->output));
}

absl::Status PeerAvailable(const std::string& peer) {
  absl::StatusOr<Ended> ended = RunAgain(peer, kProbeFlag, peer, [] {});
  if (!ended.ok()) return ended.status();
  if (ended->status == 0) return absl::OkStatus();
  return absl::UnavailableError(ended->output.empty() ? HowItEnded(ended->status) : ended->output);
}

int ProbePeer(const std::string& peer) {
  absl::Status status = CheckPeer(peer);
  if (!status.ok()) absl::PrintF("%s\n", status.message());
  return status.ok() ? 0 : 1;
}

int RunOne(std::string_view spec_text) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // an interrupted benchmark leaves nothing running
  absl::StatusOr<RunSpec> spec = RunSpec::Parse(spec_text);
  if (!spec.ok()) {
    absl::FPrintF(stderr, "ebb_bench: %s\n", spec.status().message());
    return 2;
  }
  const Workload* workload = FindWorkload(spec->workload);
  if (workload == nullptr) {
    absl::FPrintF(stderr, "ebb_bench: unknown workload '%s'\n", spec->workload);
    return 2;
  }
  absl::StatusOr<Record> result = workload->run(*spec);
  if (!result.ok()) {
    absl::FPrintF(stderr, "ebb_bench: %s: %s\n", spec->Title(), result.status().ToString());
    return absl::IsResourceExhausted(result.status()) ? kOutOfMemoryExit : 1;
  }
  absl::PrintF("%s\n", result->ToJson());
  return 0;
}

}  // namespace ebb::bench
