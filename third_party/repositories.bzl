"""The repositories Ebb builds against, for Ebb's own WORKSPACE and for programs that embed it.

Bazel 4.2.3 (Debian) names some repositories itself and would download them; they are stand-ins
here. `root` is the path from the calling workspace to Ebb's checkout ("." for Ebb itself).
"""

def ebb_repositories(root = "."):
    third_party = root + "/third_party"
    for stub in ["rules_cc", "rules_java", "remote_coverage_tools", "platforms"]:
        native.local_repository(name = stub, path = third_party + "/stubs/" + stub)

    # Debian package bazel-skylib (Abseil needs lib/selects.bzl).
    native.local_repository(name = "bazel_skylib", path = "/usr/share/bazel/tools/skylib")

    # Debian source packages, unpacked by tools/setup.sh.
    native.local_repository(name = "com_google_absl", path = third_party + "/src/abseil")
    native.local_repository(name = "com_google_googletest", path = third_party + "/src/googletest")
    native.local_repository(name = "com_github_google_benchmark", path = third_party + "/src/benchmark")

    # Debian package liburing-dev.
    native.new_local_repository(
        name = "liburing",
        path = "/usr/include/liburing",
        build_file_content = """
cc_library(
    name = "liburing",
    linkopts = ["-l:liburing.a"],  # headers: /usr/include, a built-in include directory
    visibility = ["//visibility:public"],
)
""",
    )
