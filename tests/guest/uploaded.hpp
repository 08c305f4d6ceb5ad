// A user's repository that was uploaded and unpacked, with panes' work trees made by skep-guest.
#pragma once

#include "tests/guest/guest.hpp"
#include "transfer/pack.hpp"
#include "transfer/results.hpp"
#include "transfer/summary.hpp"

namespace skep::test {

/// The user's repository, and the sandbox's side of it after upload and `base`.
struct uploaded : temp {
  repo user;
  transfer::packed packed;
  std::string work = *this / "work";
  json base;

  explicit uploaded(const std::function<void(const repo&)>& fill) {
    fill(user);
    auto done = transfer::pack_worktree(user.path, *this / "a.tar.zst");
    REQUIRE(done.ok());
    packed = std::move(*done);
    auto a = test::guest({"unpack", "--archive", *this / "a.tar.zst", "--dest", work});
    REQUIRE(a.exit_code == 0);
    CHECK(a.j["manifest_sha256"] == packed.manifest.sha256());
    CHECK(a.j["files"] == packed.manifest.files.size());
    CHECK(a.j["size_bytes"] == packed.manifest.total_bytes);
    base = make_base();
  }
  json make_base() {
    std::vector<std::string> arguments{"base", "--repo", work};
    if (packed.clean)
      arguments.insert(arguments.end(),
                       {"--head", packed.head, "--head-pack", packed.head_pack_path});
    auto a = test::guest(arguments);
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    return a.j;
  }
  std::string pane(const std::string& name) {
    auto dest = *this / name;
    auto a = test::guest(
        {"worktree", "--repo", work, "--name", name, "--dest", dest, "--base", base["commit"]});
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    CHECK(a.j["branch"] == "skep/" + name);
    CHECK(a.j["commit"] == base["commit"]);
    return dest;
  }
  transfer::diff_summary diff(const std::string& name, std::vector<std::string> more = {}) {
    auto words = diff_words(name);
    words.insert(words.end(), more.begin(), more.end());
    return summary(name, test::guest(words));
  }
  std::vector<std::string> diff_words(const std::string& name) const {
    return {"diff",  "--tree",      *this / name, "--base", base["commit"], "--name", name,
            "--out", *this / "out", "--repo",     work};
  }
  /// The summary that an answer announces.
  transfer::diff_summary summary(const std::string& name, const answer& a) const {
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    auto announced = transfer::parse_summary_file(a.j);
    REQUIRE(announced.ok());
    REQUIRE(announced->has_value());
    auto s = transfer::read_diff_summary(*this / ("out/" + name + ".json"), **announced);
    REQUIRE(s.ok());
    return *s;
  }
  std::string patch(const std::string& name) const { return *this / ("out/" + name + ".patch"); }
  /// Applies the patch to a copy of what was uploaded and compares with the pane's tree.
  void check_patch(const std::string& name) {
    auto copy = *this / ("copy-" + name);
    transfer::unpack_limits limits;
    limits.outward_links = true;
    REQUIRE(transfer::unpack_archive(*this / "a.tar.zst", copy, limits).ok());
    git(copy, {"init", "-q"});
    git(copy, {"apply", "--check", patch(name)});
    git(copy, {"apply", patch(name)});
    std::filesystem::remove_all(copy + "/.git");
    std::filesystem::remove_all(*this / name + "/.git");
    auto got = transfer::manifest_of(copy), want = transfer::manifest_of(*this / name);
    REQUIRE((got.ok() && want.ok()));
    CHECK(got->sha256() == want->sha256());
  }
};

} // namespace skep::test
