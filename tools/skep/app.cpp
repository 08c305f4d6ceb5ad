#include "tools/skep/app.hpp"

#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace skep::cli {

namespace fs = std::filesystem;

namespace {
result<fs::path> state_root(const app& a) {
  if (a.state_option.empty()) return storage::default_state_root();
  std::error_code failed;
  auto root = fs::absolute(a.state_option, failed).lexically_normal();
  if (failed) return make_error(errc::bad_argument, "--state " + a.state_option, failed.message());
  return root;
}
} // namespace

result<storage::state_paths> state_of(const app& a) {
  auto root = state_root(a);
  if (!root) return root.err();
  storage::state_paths out;
  std::error_code failed;
  out.root = fs::weakly_canonical(*root, failed);
  if (failed) out.root = *root;
  out.run = out.root / "run";
  if (auto target = fs::read_symlink(out.run, failed); !failed) out.run = target;
  return out;
}

result<storage::state_paths> made_state(const app& a) {
  auto root = state_root(a);
  if (!root) return root.err();
  return storage::prepare_state(*root);
}

broker::endpoints endpoints_of(const storage::state_paths& paths) {
  return broker::endpoints_in(paths.run.string());
}

json error_document(const error& e) {
  const auto& facts = info(e.code);
  json out;
  out["code"] = std::string{facts.name};
  out["family"] = std::string{to_string(facts.family)};
  out["exit_code"] = facts.exit_code;
  out["text"] = std::string{facts.text};
  out["message"] = e.message;
  out["sandbox"] = e.sandbox.value;
  out["step"] = e.step;
  out["cause"] = e.cause;
  out["hint"] = std::string{facts.hint};
  out["retriable"] = retriable(e);
  out["retry_after_ms"] = e.retry_after_ms;
  return json{{"error", out}};
}

namespace {
/// The hints of errors.def do not know which command was typed.
std::string with_command(std::string text, const std::string& command) {
  constexpr std::string_view any = "`skep COMMAND --help`";
  if (auto at = text.rfind(any); at != text.npos)
    text.replace(at, any.size(), "`skep " + command + "--help`");
  return text;
}
} // namespace

int fail(const app& a, const error& e) {
  if (a.json_mode)
    print_json(error_document(e));
  else
    remark(style(stderr, tint::red, "skep: ") + safe_line(with_command(render(e), a.command)));
  return info(e.code).exit_code;
}

void print_json(const json& j) {
  print_line(to_line(j));
}

namespace {
int output_errno = 0; ///< Why writing stdout failed first; 0: it did not, or elsewhere than here.

void note_output(bool written) {
  if (!written && output_errno == 0) output_errno = errno;
}
} // namespace

void print_line(const std::string& text) {
  print_text(text + '\n');
}

void print_text(std::string_view text) {
  note_output(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
  note_output(std::fflush(stdout) == 0);
}

error flush_output() {
  note_output(std::fflush(stdout) == 0);
  if (std::ferror(stdout) == 0) return {};
  return make_error(errc::io, "writing standard output",
                    output_errno != 0 ? std::strerror(output_errno) : "");
}

void remark(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fputc('\n', stderr);
  std::fflush(stderr);
}

CLI::App* add_command(CLI::App& parent, app& a, const std::string& name, const std::string& about,
                      const std::string& examples, std::function<int()> body) {
  auto* out = parent.add_subcommand(name, about);
  if (!examples.empty()) out->footer("Examples:\n" + examples);
  out->callback([&a, body = std::move(body)] { a.exit_code = body(); });
  return out;
}

namespace {
/// The one candidate that `text` names exactly, or else begins.
template <class T, class Key>
result<T> pick(const std::vector<T>& all, const std::string& text, errc missing, Key key) {
  std::vector<T> begins;
  for (const auto& x : all) {
    if (key(x) == text) return x;
    if (text.size() >= 4 && key(x).starts_with(text)) begins.push_back(x);
  }
  if (begins.size() == 1) return begins.front();
  if (begins.size() > 1)
    return make_error(errc::bad_argument,
                      text + " is the beginning of " + std::to_string(begins.size()) + " ids");
  return make_error(missing, text);
}

/// Names are not unique, a job of every night has one: the run that has not ended is meant, else
/// the newest. Several that have not ended are never chosen from. Empty id: there is none.
/// `several` comes before their number.
result<swarm_id> the_one_meant(const std::vector<swarm_record>& newest_first,
                               const std::string& several) {
  std::vector<swarm_id> open;
  for (const auto& s : newest_first)
    if (s.state != swarm_phase::closed) open.push_back(s.swarm);
  if (open.empty()) return newest_first.empty() ? swarm_id{} : newest_first.front().swarm;
  if (open.size() == 1) return open.front();
  auto text =
      several + std::to_string(open.size()) + " swarms that have not ended; give the id of one:";
  for (const auto& x : open)
    text += " " + x.value;
  return make_error(errc::bad_argument, text);
}

result<swarm_id> swarm_named(std::vector<swarm_record> newest_first, const std::string& name) {
  std::erase_if(newest_first, [&](const auto& s) { return s.name.empty() || s.name != name; });
  return the_one_meant(newest_first, name + " is the name of ");
}

/// The git work tree that we are in; not_found when we are in none.
result<std::string> work_tree_here() {
  namespace fs = std::filesystem;
  std::error_code failed;
  auto here = fs::current_path(failed);
  if (failed) return make_error(errc::not_found, "the folder you are in", failed.message());
  for (;; here = here.parent_path()) {
    auto mark = here / ".git"; // a folder, or, in a linked work tree, a file
    if (fs::is_regular_file(mark, failed) || fs::exists(mark / "HEAD", failed))
      return here.string();
    if (here == here.parent_path()) break;
  }
  return make_error(errc::bad_argument,
                    "which swarm? Without its id the one of the git work tree that you are in is "
                    "meant, and you are in none");
}

result<swarm_id> swarm_of_work_tree(broker::control_client& daemon) {
  auto here = work_tree_here();
  if (!here) return here.err();
  auto list = daemon.call(list_request{true, {}, *here}, call_deadline);
  if (!list) return list.err();
  // An older daemon knows no such list and gives all there are.
  std::erase_if(list->swarms, [&](const auto& s) { return s.repo != *here; });
  auto found = the_one_meant(list->swarms, *here + " has ");
  if (found && found->empty())
    return make_error(errc::no_such_swarm, "there was no run of " + *here);
  if (found) remark("Of " + safe_line(*here) + ": " + found->value);
  return found;
}
} // namespace

std::string or_here(const std::string& what) {
  return what
         + ".\nWithout: of the git work tree you are in, the one that has not ended, else the "
           "newest";
}

result<swarm_id> find_swarm(broker::control_client& daemon, const std::string& text) {
  if (text == of_work_tree) return swarm_of_work_tree(daemon);
  if (swarm_id exact{text}; exact.valid() && text.size() == 19) return exact;
  auto list = daemon.call(list_request{true, text}, call_deadline);
  if (!list) return list.err();
  if (auto named = swarm_named(list->swarms, text); !named || !named->empty()) return named;
  auto found = pick(list->swarms, text, errc::no_such_swarm,
                    [](const swarm_record& s) { return s.swarm.value; });
  if (!found) return found.err();
  return found->swarm;
}

found_pane found_from(const pane_record& p) {
  return {p.swarm, p.sandbox, p.pane, p.agent, p.state, p.name};
}

namespace {
/// A lost pane and its successor have one name: the one that has not ended is meant, else the last.
const pane_record* pane_named(const std::vector<pane_record>& all, const std::string& name) {
  const pane_record* out = nullptr;
  for (const auto& p : all) {
    if (p.name != name) continue;
    out = &p;
    if (p.state != pane_phase::closed) break;
  }
  return out;
}
} // namespace

result<found_pane> find_pane(broker::control_client& daemon, const std::string& text) {
  if (auto slash = text.find('/'); slash != std::string::npos) {
    auto swarm = find_swarm(daemon, text.substr(0, slash));
    if (!swarm) return swarm.err();
    auto status = daemon.call(status_request{*swarm}, call_deadline);
    if (!status) return status.err();
    const auto* p = pane_named(status->panes, text.substr(slash + 1));
    if (p == nullptr) return make_error(errc::no_such_pane, text);
    return found_from(*p);
  }
  auto list = daemon.call(list_request{true, text}, call_deadline);
  if (!list) return list.err();
  auto p = pick(list->panes, text, errc::no_such_pane,
                [](const pane_record& x) { return x.pane.value; });
  if (!p) return p.err();
  return found_from(*p);
}

error input_refused(const found_pane& p) {
  if (p.agent != agent_kind::command)
    return make_error(errc::cannot_send, p.name + " runs " + std::string{to_string(p.agent)}
                                             + ", which reads its prompt once and nothing later");
  if (p.state == pane_phase::closed) return make_error(errc::wrong_phase, p.name + " has ended");
  return {};
}

} // namespace skep::cli
