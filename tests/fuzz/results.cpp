// What comes back of a pane, as a whole: the claim, the patch and the files, each from a sandbox
// that lies. What is accepted holds together, can be read again, and is taken over within a work
// tree and nowhere else.
//
// An input has three parts, each behind a line "%%": the claim as JSON, the patch, and the files as
// lines "f PATH=TEXT", "x PATH=TEXT" and "l PATH=TARGET". Sizes and hashes of the claim are filled
// in here, for libFuzzer does not find them; archives of any bytes are the target `unpack`. A claim
// with "branch":true is made a branch, too: a dozen runs of git, so not of every input.
#include "transfer/results.hpp"
#include "tests/fuzz/targets.hpp"
#include "transfer/apply.hpp"
#include "transfer/apply_branch.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/beneath.hpp"
#include "transfer/kept.hpp"
#include "transfer/sha256.hpp"

#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace skep;
namespace fs = std::filesystem;

// In place of the C library's: nothing here is to outlive the process, and the disk is slow.
extern "C" int syncfs(int) noexcept {
  return 0;
}
extern "C" int fsync(int) {
  return 0;
}

namespace results_target {
namespace {

using namespace skep::transfer;

struct own_place {
  own_place() {
    auto base = fs::exists("/dev/shm") ? fs::path{"/dev/shm"} : fs::temp_directory_path();
    auto name = (base / "skep-fuzz-results-XXXXXX").string();
    fuzz::require(::mkdtemp(name.data()) != nullptr, "a folder can be made");
    path = name;
    ::setenv("TMPDIR", name.c_str(), 1);
  }
  ~own_place() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return path + "/" + name; }
  std::string path;
};

const own_place& workplace() {
  static const own_place made;
  return made;
}

std::string_view next_part(std::string_view& text) {
  constexpr std::string_view mark = "%%\n";
  auto end = std::min(text.find(mark), text.size());
  auto out = text.substr(0, end);
  text.remove_prefix(std::min(end + mark.size(), text.size()));
  return out;
}

void write(const std::string& path, std::string_view text) {
  std::ofstream{path, std::ios::binary}.write(text.data(),
                                              static_cast<std::streamsize>(text.size()));
}

/// False where such an archive cannot be written.
bool write_files(std::string_view text, const std::string& path) {
  auto writer = archive_writer::create(path);
  fuzz::require(writer.ok(), "an archive can be made");
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto equals = line.find('=');
    if (line.size() < 3 || line[1] != ' ' || equals == line.npos) continue;
    auto content = std::string{line.substr(equals + 1)};
    file_entry f;
    f.path = line.substr(2, equals - 2);
    f.type = line[0] == 'l' ? file_entry::kind::symlink : file_entry::kind::file;
    f.mode = line[0] == 'x' ? 0755 : 0644;
    f.size = content.size();
    bool link = f.type == file_entry::kind::symlink;
    if (!writer->begin(f, 0, link ? content : "")) return false;
    if (!link && !writer->data(content)) return false;
  }
  return writer->finish().ok();
}

/// The claim with what the two files really are; empty when it is no JSON object.
std::string claim_of(std::string_view text, const std::string& patch, const std::string& tar) {
  auto j = json::parse(text, nullptr, false);
  if (!j.is_object()) return {};
  j["patch_bytes"] = static_cast<std::uint64_t>(fs::file_size(patch));
  j["patch_sha256"] = *sha256_of_file(patch);
  j["tar_bytes"] = static_cast<std::uint64_t>(fs::file_size(tar));
  j["tar_sha256"] = *sha256_of_file(tar);
  return to_line(j);
}

void take(const std::string& out) {
  // The user's work tree: what a run began with, and one file that was changed since.
  const auto tree = workplace() / "tree";
  fs::create_directories(tree + "/dir");
  write(tree + "/a", "one\n");
  write(tree + "/dir/b", "two\n");
  kept_base base;
  auto files = manifest_of(tree);
  fuzz::require(files.ok(), "the work tree can be read");
  base.files = std::move(*files);
  write(tree + "/dir/b", "changed here\n");
  auto pane = read_pane(out, "p0");
  fuzz::require(pane.ok() && check_kept(*pane).ok(), "what was collected can be read again");
  auto done = take_over(out, base, {*pane}, {tree, take_mode::files, false});
  if (!done) return;
  std::ifstream in{tree + "/dir/b"};
  std::string first;
  std::getline(in, first);
  fuzz::require(first == "changed here", "a local change stays");
  for (const auto& x : done->paths)
    fuzz::require(safe_relative(x.path) && !names_git_dir(x.path), "paths stay in the work tree");
  auto again = take_over(out, base, {*pane}, {tree, take_mode::files, false});
  fuzz::require(again.ok() && again->count(taken_path::what::written) == 0
                    && again->count(taken_path::what::deleted) == 0,
                "taken over twice is taken over once");
}

std::string git(const std::string& repo, std::vector<std::string> words) {
  words.insert(words.begin(), {"-c", "user.name=Ada", "-c", "user.email=a@b", "-c", "gc.auto=0"});
  auto p = git_program(repo, std::move(words));
  p.environment->insert(p.environment->end(),
                        {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"});
  auto out = run_for_output(p);
  fuzz::require(out.ok(), "git works");
  return *out;
}

/// The user's repository, made once, and what a run began with.
const kept_base& base_of_repo() {
  static const kept_base made = [] {
    const auto repo = workplace() / "repo";
    fs::create_directories(repo + "/dir");
    write(repo + "/a", "one\n");
    write(repo + "/dir/b", "two\n");
    git(repo, {"init", "-q", "-b", "main"});
    git(repo, {"add", "-A"});
    git(repo, {"commit", "-q", "-m", "base"});
    kept_base out;
    out.repo = repo;
    out.head = git(repo, {"rev-parse", "HEAD"});
    out.head.pop_back();
    out.branch = "main";
    out.files = *manifest_of(repo);
    return out;
  }();
  return made;
}

std::string state_of_repo(const std::string& repo) {
  return git(repo, {"for-each-ref"}) + git(repo, {"symbolic-ref", "HEAD"})
         + git(repo, {"ls-files", "-s"}) + manifest_of(repo)->sha256();
}

void branch(const std::string& out) {
  const auto& base = base_of_repo();
  auto pane = read_pane(out, "p0");
  fuzz::require(pane.ok(), "what was collected can be read again");
  const auto before = state_of_repo(base.repo);
  auto made = make_branch(out, base, *pane, {base.repo, "skep/p0", {}, {"Ada", "a@b", "x", false}});
  if (made) {
    fuzz::require(made->branch == "skep/p0" && !made->snapshot, "the branch has its name");
    fuzz::require(git(base.repo, {"merge-base", base.head, "skep/p0"}) == base.head + "\n",
                  "the branch stands on the base");
    auto log = git(base.repo, {"log", "--format=%an <%ae>", base.head + "..skep/p0"});
    for (std::string_view rest{log}; !rest.empty();) {
      auto end = rest.find('\n');
      fuzz::require(rest.substr(0, end) == "Ada <a@b>", "authors are who takes it over");
      rest.remove_prefix(end + 1);
    }
    git(base.repo, {"update-ref", "-d", "refs/heads/skep/p0"});
  }
  fuzz::require(state_of_repo(base.repo) == before, "nothing but the branch was made");
}

} // namespace
} // namespace results_target

void skep::fuzz::run_results(input in) {
  using namespace results_target;
  auto text = in.rest();
  auto claim = next_part(text), patch = next_part(text);
  const auto out = workplace() / "out", patch_path = workplace() / "p0.patch",
             tar = workplace() / "p0.tar";
  write(patch_path, patch);
  if (!write_files(text, tar)) return;
  auto line = claim_of(claim, patch_path, tar);
  auto summary = transfer::parse_diff_summary(line);
  if (!summary) return;
  transfer::unpack_limits limits;
  limits.max_files = 100;
  limits.max_bytes = 1 << 20;
  auto got = transfer::collect_pane(patch_path, tar, out, "p0", *summary, limits);
  if (got) {
    for (const auto& path : got->touched)
      fuzz::require(transfer::safe_relative(path) && !transfer::names_git_dir(path),
                    "a patch touches paths of the tree alone");
    for (const auto& f : got->files.files)
      fuzz::require(std::binary_search(got->touched.begin(), got->touched.end(), f.path),
                    "every file is one that the patch touches");
    take(out);
    if (claim.find("\"branch\":true") != claim.npos) branch(out);
  }
  for (const auto& entry : fs::directory_iterator{workplace().path}) {
    auto name = entry.path().filename().string();
    fuzz::require(name == "out" || name == "p0.patch" || name == "p0.tar" || name == "tree"
                      || name == "repo",
                  "nothing is left or written beside");
  }
  fs::remove_all(out);
  fs::remove_all(workplace() / "tree");
}
