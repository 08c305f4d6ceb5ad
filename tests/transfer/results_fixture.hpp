// A user's repository and the results of panes that began with it, made without a sandbox.
#pragma once

#include "tests/transfer/repo.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/kept.hpp"
#include "transfer/pack.hpp"
#include "transfer/sha256.hpp"

#include <functional>
#include <map>

namespace skep::test {

class swarm_results {
public:
  repo user;
  /// New paths that pane() claims as copies of others, by the new one.
  std::map<std::string, std::string> copies;

  /// Takes the record of what is in `user` now.
  void begin() {
    auto facts = transfer::inspect_repo(user.path);
    auto suspects = transfer::changed_against_head(user.path);
    REQUIRE((facts.ok() && suspects.ok()));
    auto packed = transfer::pack_worktree(user.path, place_ / "a.tar");
    REQUIRE(packed.ok());
    auto made = transfer::base_of(*facts, packed->manifest, packed->skipped, *suspects);
    REQUIRE(made.ok());
    REQUIRE(transfer::keep_base(dir(), *made).ok());
    std::set<std::string> all;
    for (const auto& f : made->files.files)
      all.insert(f.path);
    REQUIRE(transfer::keep_originals(dir(), place_ / "a.tar", all).ok());
  }

  /// The results of a pane that does `work` in a tree of its own; one commit, one patch.
  void pane(const std::string& name, const std::function<void(const repo&)>& work) {
    repo tree;
    transfer::unpack_limits limits;
    limits.outward_links = true;
    REQUIRE(transfer::unpack_archive(place_ / "a.tar", tree.path, limits).ok());
    auto from = tree.commit("base");
    work(tree);
    auto to = tree.commit("what " + name + " did");
    transfer::diff_summary claim;
    claim.commits = 1;
    claim.head = to;
    auto changes = transfer::split_nul(
        git(tree.path, {"diff-tree", "-r", "-z", "-M", "--name-status", from, to}));
    for (std::size_t i = 0; i + 1 < changes.size(); i += 2) {
      if (changes[i][0] == 'R') {
        claim.renamed.emplace_back(changes[i + 1], changes[i + 2]);
        ++i;
      } else if (auto copy = copies.find(changes[i + 1]);
                 changes[i] == "A" && copy != copies.end()) {
        claim.copied.emplace_back(copy->second, copy->first);
      } else {
        (changes[i] == "A"   ? claim.added
         : changes[i] == "D" ? claim.deleted
                             : claim.modified)
            .push_back(changes[i + 1]);
      }
    }
    auto patch = git(tree.path, {"format-patch", "--stdout", "--binary", "--full-index", "-M",
                                 "--no-signature", from + ".." + to})
                 + "\n";
    if (claim.empty()) patch.clear();
    put(place_ / "p.patch", patch);
    auto writer = transfer::archive_writer::create(place_ / "p.tar");
    auto names = claim.modified;
    names.insert(names.end(), claim.added.begin(), claim.added.end());
    for (const auto* list : {&claim.renamed, &claim.copied})
      for (const auto& [before, now] : *list)
        names.push_back(now);
    transfer::unique_fd root{::open(tree.path.c_str(), O_PATH)};
    std::string buffer(4096, '\0');
    for (const auto& n : names) {
      auto opened = transfer::open_entry(root.get(), n);
      REQUIRE(opened.ok());
      REQUIRE(transfer::append_file(*writer, *opened, buffer).ok());
    }
    auto done = writer->finish();
    claim.patch_bytes = patch.size();
    claim.patch_sha256 = transfer::sha256_of(patch);
    claim.tar_bytes = done->bytes;
    claim.tar_sha256 = done->sha256;
    auto got = transfer::collect_pane(place_ / "p.patch", place_ / "p.tar", dir(), name, claim);
    INFO((got ? "" : render(got.err())));
    REQUIRE(got.ok());
  }

  std::string dir() const { return place_ / "out/sw_x"; }
  transfer::kept_base base() const {
    auto b = transfer::read_base(dir());
    REQUIRE(b.ok());
    return *b;
  }
  std::vector<transfer::kept_pane> panes() const {
    std::vector<transfer::kept_pane> out;
    for (const auto& name : transfer::kept_names(dir())) {
      auto p = transfer::read_pane(dir(), name);
      REQUIRE(p.ok());
      out.push_back(*p);
    }
    return out;
  }

private:
  temp place_;
};

} // namespace skep::test
