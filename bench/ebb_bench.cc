// The benchmark program behind bench/run. What it measures: bench/README.md.

#include <stdio.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "bench/report.h"
#include "bench/request.h"
#include "bench/run_process.h"
#include "bench/session.h"

namespace {

int UsageError(const absl::Status& status) {
  absl::FPrintF(stderr, "ebb_bench: %s\n(bench/run --help says more)\n", status.message());
  return 2;
}

int Main(const std::vector<std::string_view>& args) {
  using namespace ebb::bench;  // NOLINT: the program is this namespace's front
  if (args.size() == 2 && args[0] == kOneRunFlag) return RunOne(args[1]);
  if (args.size() == 2 && args[0] == kProbeFlag) return ProbePeer(std::string(args[1]));
  absl::StatusOr<Request> request = Request::Parse(args);
  if (!request.ok()) return UsageError(request.status());
  if (request->help || request->list) {
    absl::PrintF("%s", request->help ? Usage() : Listing());
    return 0;
  }
  absl::StatusOr<JsonFile> json = JsonFile::Open(request->json_file);
  if (!json.ok()) return UsageError(json.status());
  return Session(*request, *std::move(json)).Run();
}

}  // namespace

int main(int argc, char** argv) {
  return Main(std::vector<std::string_view>(argv + 1, argv + argc));
}
