// The hosts of package registries that the network policy `packages` opens: where their clients
// fetch from by default, mirrors and private registries are the user's to name.
#pragma once

#include <array>
#include <string_view>

namespace skep::actors {

struct package_host {
  std::string_view registry;
  std::string_view host;
};

inline constexpr auto package_hosts = std::to_array<package_host>({
    {"npm", "registry.npmjs.org"},
    {"Yarn", "registry.yarnpkg.com"},
    {"PyPI", "pypi.org"},
    {"PyPI", "files.pythonhosted.org"},
    {"crates.io", "crates.io"},
    {"crates.io", "index.crates.io"},
    {"crates.io", "static.crates.io"},
    {"Go", "proxy.golang.org"},
    {"Go", "sum.golang.org"},
    {"Maven Central", "repo.maven.apache.org"},
    {"Maven Central", "repo1.maven.org"},
    {"Gradle", "services.gradle.org"},
    {"Gradle", "plugins.gradle.org"},
    {"RubyGems", "rubygems.org"},
    {"RubyGems", "index.rubygems.org"},
    {"NuGet", "api.nuget.org"},
    {"Debian", "deb.debian.org"},
    {"Debian", "security.debian.org"},
    {"Ubuntu", "archive.ubuntu.com"},
    {"Ubuntu", "security.ubuntu.com"},
});

} // namespace skep::actors
