// skep-guest: the short programs inside every sandbox. One line of JSON on standard output, or
// {"error":CODE,"message":TEXT} and an exit code other than 0. `follow` writes frames
// (messages/follow.hpp), `view` the pane's output.
#include "guest/base.hpp"
#include "guest/changed.hpp"
#include "guest/control.hpp"
#include "guest/diff.hpp"
#include "guest/follow.hpp"
#include "guest/pane.hpp"
#include "guest/reach.hpp"
#include "guest/view.hpp"
#include "guest/windows.hpp"
#include "messages/release.hpp"
#include "transfer/parts.hpp"
#include "transfer/process.hpp"
#include "transfer/unpack.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <sys/stat.h>
#include <unistd.h>

namespace {

using namespace skep;
using namespace skep::guest;

constexpr int exit_failed = 1, exit_usage = 2, exit_stale = 3;

int fail(const error& e, int fd = 1) {
  json out = json::object();
  out["error"] = to_string(e.code);
  auto text = e.message;
  if (!e.cause.empty()) text += text.empty() ? e.cause : ": " + e.cause;
  out["message"] = text;
  if (!transfer::write_all(fd, to_line(out) + "\n")) return exit_failed;
  return e.code == errc::stale_epoch    ? exit_stale
         : e.code == errc::bad_argument ? exit_usage
                                        : exit_failed;
}

int print(const result<json>& answer) {
  if (!answer) return fail(answer.err());
  return transfer::write_all(1, to_line(*answer) + "\n").ok() ? 0 : exit_failed;
}

result<json> unpacked(const std::vector<std::string>& archive, const std::string& dest) {
  transfer::unpack_limits limits;
  limits.outward_links = true; // the user's own tree; links are made, never followed
  auto manifest = transfer::unpack_archive(archive, dest, limits);
  if (!manifest) return manifest.err();
  json out = json::object();
  out["files"] = manifest->files.size();
  out["size_bytes"] = manifest->total_bytes;
  out["manifest_sha256"] = manifest->sha256();
  return out;
}

result<json> verified(const std::string& dest, const std::string& digest) {
  auto manifest = transfer::manifest_of(dest);
  if (!manifest) return manifest.err();
  auto found = manifest->sha256();
  if (found != digest)
    return make_error(errc::verification, dest + " holds " + std::to_string(manifest->files.size())
                                              + " files, " + std::to_string(manifest->total_bytes)
                                              + " bytes, manifest " + found);
  json out = json::object();
  out["verified"] = true;
  out["files"] = manifest->files.size();
  out["size_bytes"] = manifest->total_bytes;
  return out;
}

result<std::string> read_standard_input() {
  std::string out;
  char buffer[64 * 1024];
  for (;;) {
    auto n = ::read(0, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return transfer::io_error("standard input", errno);
    if (n == 0) return out;
    out.append(buffer, static_cast<std::size_t>(n));
    if (out.size() > max_input_bytes) return make_error(errc::too_large, "standard input");
  }
}

result<json> input(const std::string& dir, const std::string& key, const std::string& file,
                   bool end_of_input) {
  auto data = file.empty() ? read_standard_input() : transfer::read_file(file, max_input_bytes);
  if (!data) return data.err();
  return send_input(dir, key, *data, end_of_input);
}

int show(windows_options& o, const std::vector<std::string>& panes) {
  for (const auto& text : panes) {
    auto pane = parse_shown_pane(text);
    if (!pane) return fail(pane.err());
    o.panes.push_back(*pane);
  }
  if (::isatty(0) != 1) return print(make_windows(o));
  return fail(show_windows(o), 2);
}

result<json> reached(const std::vector<std::string>& http, const std::vector<std::string>& tls,
                     std::chrono::milliseconds limit) {
  if (http.empty() && tls.empty()) return make_error(errc::bad_argument, "no target");
  std::vector<reach_target> targets;
  auto add = [&targets](result<reach_target> target) {
    if (target) targets.push_back(std::move(*target));
    return target.ok() ? error{} : target.err();
  };
  for (const auto& text : http)
    if (auto e = add(parse_http_target(text))) return e;
  for (const auto& text : tls)
    if (auto e = add(parse_tls_target(text))) return e;
  auto answers = try_to_reach(targets, limit);
  if (!answers) return answers.err();
  return reach_json(*answers);
}

int run(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  // What stands after "--" is the agent's: the parser would read a list into "[a,b]".
  auto dashes = std::find(words.begin(), words.end(), "--");
  std::vector<std::string> agent(dashes == words.end() ? dashes : dashes + 1, words.end());
  words.erase(dashes, words.end());
  std::reverse(words.begin(), words.end()); // what CLI11 wants
  CLI::App app{"the short programs of Skep inside a sandbox"};
  app.set_version_flag("--version", "skep-guest " + std::string{release_version});
  app.require_subcommand(1);
  int code = 0;

  pane_options pane;
  std::string stdin_mode, pty;
  auto* p = app.add_subcommand("pane", "start an agent under a holder, once");
  p->add_option("--dir", pane.dir)->required();
  p->add_option("--cwd", pane.cwd)->required();
  p->add_option("--epoch", pane.epoch)->required();
  auto* file_option = p->add_option("--stdin-file", pane.stdin_file);
  p->add_option("--stdin", stdin_mode, "open: the agent takes input")
      ->check(CLI::IsMember({"open"}))
      ->excludes(file_option);
  p->add_option("--pty", pty, "COLUMNSxROWS");
  p->add_option("--log-cap-bytes", pane.log_cap_bytes,
                "how many of the newest bytes of the log stay, at least; else all");
  p->footer("After -- stand the agent's program and its arguments.");
  p->callback([&] {
    pane.argv = agent;
    pane.stdin_open = stdin_mode == "open";
    if (!pty.empty()) {
      pane.pty = true;
      char rest = 0;
      if (std::sscanf(pty.c_str(), "%hux%hu%c", &pane.columns, &pane.rows, &rest) != 2
          || !pane.columns || !pane.rows) {
        code = fail(make_error(errc::bad_argument, "--pty wants COLUMNSxROWS"));
        return;
      }
    }
    code = print(start_pane(pane));
  });

  std::string dir, key, file, signal;
  bool end_of_input = false;
  auto* i = app.add_subcommand("input", "give a pane input, once per key");
  i->add_option("--dir", dir)->required();
  i->add_option("--key", key)->required();
  i->add_option("--file", file, "else standard input");
  i->add_flag("--eof", end_of_input, "end the agent's input behind it");
  i->callback([&] { code = print(input(dir, key, file, end_of_input)); });

  auto* s = app.add_subcommand(
      "signal", "signal a pane's process group; KILL, STOP, CONT: all its descendants");
  s->add_option("--dir", dir)->required();
  s->add_option("--signal", signal)
      ->required()
      ->check(CLI::IsMember({"INT", "TERM", "KILL", "STOP", "CONT"}));
  s->callback([&] { code = print(send_signal(dir, signal)); });

  unsigned columns = 0, rows = 0;
  auto* r = app.add_subcommand("resize", "set the size of a pane's terminal");
  r->add_option("--dir", dir)->required();
  r->add_option("--columns", columns)->required();
  r->add_option("--rows", rows)->required();
  r->callback([&] { code = print(send_resize(dir, columns, rows)); });

  follow_options follow_with;
  std::vector<std::string> from;
  std::int64_t limit_s = 1800;
  auto* f = app.add_subcommand("follow", "send what panes write as frames");
  f->add_option("--root", follow_with.root)->required();
  f->add_option("--epoch", follow_with.epoch)->required();
  f->add_option("--from", from, "PANE:GENERATION:OFFSET")->take_all();
  f->add_option("--deadline-s", limit_s)->check(CLI::Range(1, 86400));
  f->callback([&] {
    follow_with.limit = std::chrono::seconds{limit_s};
    for (const auto& text : from) {
      auto known = parse_known_offset(text);
      if (!known) {
        code = fail(known.err(), 2);
        return;
      }
      follow_with.from.push_back(*known);
    }
    if (auto done = follow(follow_with); !done) code = fail(done.err(), 2);
  });

  std::vector<std::string> archive;
  std::string dest, digest;
  auto* u = app.add_subcommand("unpack", "unpack an archive, confined to a directory");
  u->add_option("--archive", archive, "each part of it, in order")->required();
  u->add_option("--dest", dest)->required();
  u->callback([&] { code = print(unpacked(archive, dest)); });

  std::string parts_dir;
  auto* listed = app.add_subcommand("parts", "the files of a directory with their hashes");
  listed->add_option("--dir", parts_dir)->required();
  listed->callback([&] { code = print(transfer::list_parts(parts_dir)); });

  auto* v = app.add_subcommand("verify", "compare a tree on disk with a manifest's digest");
  v->add_option("--dest", dest)->required();
  v->add_option("--manifest-sha256", digest)->required();
  v->callback([&] { code = print(verified(dest, digest)); });

  base_options base;
  auto* b = app.add_subcommand("base", "make a tree a repository with one commit of all of it");
  b->add_option("--repo", base.repo)->required();
  auto* head = b->add_option("--head", base.head);
  b->add_option("--head-pack", base.head_pack, "each part of it, in order")->needs(head);
  b->callback([&] { code = print(make_base(base)); });

  std::string settled;
  auto* settle = app.add_subcommand("settle", "what a setup changed in a tree becomes its base");
  settle->add_option("--repo", settled)->required();
  settle->callback([&] { code = print(settle_base(settled)); });

  worktree_options tree;
  std::string ignored;
  auto* w = app.add_subcommand("worktree", "a work tree and branch of its own for a pane");
  w->add_option("--repo", tree.repo)->required();
  w->add_option("--name", tree.name)->required();
  w->add_option("--dest", tree.dest)->required();
  w->add_option("--base", tree.base)->required();
  w->add_option("--ignored", ignored, "copy: files that git ignores come along")
      ->check(CLI::IsMember({"copy"}));
  w->callback([&] {
    tree.copy_ignored = ignored == "copy";
    code = print(add_worktree(tree));
  });

  diff_options diff;
  auto* d = app.add_subcommand("diff", "what a pane changed: patch, files, summary");
  d->add_option("--tree", diff.tree)->required();
  d->add_option("--base", diff.base)->required();
  d->add_option("--name", diff.name)->required();
  d->add_option("--out", diff.out)->required();
  d->add_option("--repo", diff.repo, "the sandbox's own repository, which holds the base");
  d->add_flag("--look", diff.look_only, "Leave HEAD and index as they are: the agent still works");
  d->add_option("--patched-bytes", diff.limits.patched_bytes,
                "Contents of changed files that come back; beyond it the largest stay");
  d->callback([&] { code = print(answer_diff(diff)); });

  diff_options against;
  auto* changed = app.add_subcommand("changed", "whether a pane's work tree differs from its base");
  changed->add_option("--tree", against.tree)->required();
  changed->add_option("--base", against.base)->required();
  changed->callback([&] {
    auto differs = tree_changed(against.tree, against.base);
    code = differs ? print(json{{"changed", *differs}}) : fail(differs.err());
  });

  view_options view_with;
  auto* view = app.add_subcommand("view", "show a pane until its agent ends");
  view->add_option("--dir", view_with.dir)->required();
  view->add_flag("--read-only", view_with.read_only, "pass nothing in");
  view->add_option("--tail", view_with.tail_bytes, "bytes of the log to begin with");
  view->add_option("--detach-key", view_with.detach_key, "the byte that ends it; 0: none")
      ->check(CLI::Range(0, 31));
  view->callback([&] {
    if (auto done = view_pane(view_with); !done) code = fail(done.err(), 2);
  });

  windows_options windows;
  std::vector<std::string> shown;
  auto* all =
      app.add_subcommand("windows", "show panes in tmux; without a terminal, make it ready");
  all->add_option("--session", windows.session)->required();
  all->add_option("--pane", shown, "NAME:DIR")->required()->take_all();
  all->add_flag("--read-only", windows.read_only, "pass nothing in");
  all->callback([&] { code = show(windows, shown); });

  std::vector<std::string> http, tls;
  std::int64_t reach_ms = 2000;
  auto* reach = app.add_subcommand("reach", "try what answers from in here, side by side");
  reach->add_option("--http", http, "ADDRESS@PORT/PATH, asked by GET")->take_all();
  reach->add_option("--tls", tls, "ADDRESS@PORT, asked for a server's hello")->take_all();
  reach->add_option("--limit-ms", reach_ms, "for all of them")->check(CLI::Range(1, 60'000));
  reach->callback([&] { code = print(reached(http, tls, std::chrono::milliseconds{reach_ms})); });

  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e); // --help, --version
    return fail(make_error(errc::bad_argument, e.what()));
  }
  return code;
}

} // namespace

int main(int argc, char** argv) {
  // A call that its caller kills or gives up leaves no git at work in an agent's tree.
  skep::transfer::end_programs_with_this_process();
  return run(argc, argv);
}
