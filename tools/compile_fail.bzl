"""Tests of what must not compile, and of what the compiler must say of it."""

def _headers_impl(ctx):
    headers = depset(transitive = [
        dep[CcInfo].compilation_context.headers
        for dep in ctx.attr.deps
    ])
    return [DefaultInfo(runfiles = ctx.runfiles(transitive_files = headers))]

# All headers that a source may come to include, if it depends on these.
_headers = rule(
    implementation = _headers_impl,
    attrs = {"deps": attr.label_list(providers = [CcInfo])},
)

def compile_fail_tests(headers, deps):
    """Compiles each .cc of the package, by both compilers whatever --config is.

    Args:
      headers: what every case includes, as in an #include line; compiled once.
      deps: the libraries that these, and the cases, belong to.
    """
    _headers(
        name = "headers",
        testonly = True,
        deps = deps,
    )
    for name, compiler in [
        ("clang", "clang++-19"),
        ("gcc", "g++"),
    ]:
        native.sh_test(
            name = "compile_fail_%s_test" % name,
            srcs = ["//tools:compile_fail.sh"],
            args = [compiler, native.package_name()] + headers,
            data = native.glob(["*.cc"]) + [":headers"],
            tags = ["once"],
        )
