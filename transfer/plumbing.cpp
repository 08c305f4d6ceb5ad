#include "transfer/plumbing.hpp"

#include "transfer/beneath.hpp"
#include "transfer/git_output.hpp"
#include "transfer/kept.hpp"

#include <cerrno>
#include <fcntl.h>

namespace skep::transfer {

// Never started in a folder of an agent's: git goes into its work tree by itself, and a relative
// folder in PATH would have an agent's "git" be found there.
program plumbing::call(std::vector<std::string> arguments, const std::string& work_tree) const {
  program p;
  p.argv = {"git"};
  for (const char* setting :
       {"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.fileMode=true",
        "core.symlinks=true", "core.safecrlf=false", "core.ignoreCase=false",
        "core.splitIndex=false", "core.untrackedCache=false", "core.sparseCheckout=false",
        "index.sparse=false", "commit.gpgSign=false", "apply.whitespace=nowarn",
        "apply.ignoreWhitespace=no"}) {
    p.argv.emplace_back("-c");
    p.argv.emplace_back(setting);
  }
  p.argv.insert(p.argv.end(), arguments.begin(), arguments.end());
  p.environment = git_environment();
  p.environment->push_back("GIT_DIR=" + git_dir_);
  p.environment->push_back("GIT_INDEX_FILE=" + scratch_ + "/index");
  p.environment->push_back("GIT_WORK_TREE=" + (work_tree.empty() ? scratch_ : work_tree));
  p.working_dir = scratch_;
  p.limit = std::chrono::minutes{5};
  return p;
}

/// As the user would call git there, but with our index.
program plumbing::call_in_repo(std::vector<std::string> arguments) const {
  auto p = call(std::move(arguments), repo_);
  p.working_dir = repo_;
  return p;
}

result<std::string> plumbing::line(std::vector<std::string> arguments) const {
  auto text = run_for_output(call(std::move(arguments)));
  if (text && text->ends_with('\n')) text->pop_back();
  return text;
}

result<void> plumbing::remove(const std::vector<std::string>& paths) const {
  if (paths.empty()) return {};
  auto p = call({"update-index", "--force-remove", "-z", "--stdin"});
  for (const auto& path : paths)
    (p.stdin_data += path) += '\0';
  auto done = run_for_output(p);
  if (!done) return done.err();
  return {};
}

result<filtered_files> plumbing::filter(const std::vector<file_entry>& entries,
                                        const std::string& dir) const {
  filtered_files out;
  if (entries.empty()) return out;
  auto rules = filter_rules(entries);
  if (!rules) return rules.err();
  if (rules->empty()) return out;
  auto root = open_root(dir);
  if (!root) return root.err();
  for (const auto& e : entries) {
    auto rule = rules->find(e.path);
    if (rule == rules->end()) continue;
    auto id = hash_filtered(e, root->get(), rule->second);
    if (!id) return id.err();
    out.paths.insert(e.path);
    ((out.lines += (e.mode == 0755 ? "100755 " : "100644 ") + *id + '\t') += e.path) += '\0';
  }
  return out;
}

result<void> plumbing::add(const std::vector<file_entry>& entries, const std::string& dir,
                           const filtered_files& filtered) const {
  if (entries.size() > filtered.paths.size()) {
    auto p = call({"update-index", "--add", "--replace", "-z", "--stdin"}, dir);
    for (const auto& e : entries)
      if (!filtered.paths.contains(e.path)) (p.stdin_data += e.path) += '\0';
    if (auto off = switch_filters_off(p); !off) return off;
    // In a partial clone a missing object would be fetched from in there, by programs whose names
    // may be relative, too.
    p.environment->push_back("GIT_ALLOW_PROTOCOL=none");
    if (auto done = run_for_output(p); !done) return done.err();
  }
  if (filtered.lines.empty()) return {};
  auto p = call({"update-index", "-z", "--index-info"});
  p.stdin_data = filtered.lines;
  if (auto done = run_for_output(p); !done) return done.err();
  return {};
}

result<std::string> plumbing::commit(const std::string& tree, const std::string& parent,
                                     const std::string& message, const git_identity& who,
                                     const std::string& author_date,
                                     const std::string& date) const {
  auto p = call({"commit-tree", tree, "-p", parent, "-F", "-"});
  p.stdin_data = message;
  for (const char* role : {"AUTHOR", "COMMITTER"}) {
    p.environment->push_back(std::string{"GIT_"} + role + "_NAME=" + who.name);
    p.environment->push_back(std::string{"GIT_"} + role + "_EMAIL=" + who.email);
  }
  p.environment->push_back("GIT_AUTHOR_DATE=" + author_date);
  p.environment->push_back("GIT_COMMITTER_DATE=" + date);
  auto id = run_for_output(p);
  if (id && id->ends_with('\n')) id->pop_back();
  return id;
}

/// NAME of every filter.NAME.* of the configuration.
result<std::set<std::string>> plumbing::filter_names() const {
  auto ran = run_program(call({"config", "-z", "--name-only", "--get-regexp", "^filter\\."}));
  if (!ran) return ran.err();
  constexpr int no_such_key = 1;
  if (!ran->good() && ran->exit_code != no_such_key)
    return make_error(errc::io, "git config cannot list filters", ran->err);
  std::set<std::string> out;
  for (const auto& key : split_nul(ran->out)) {
    auto first = key.find('.'), last = key.rfind('.');
    if (first < last) out.insert(key.substr(first + 1, last - first - 1));
  }
  return out;
}

/// Files for which the user's attributes name a filter that is configured, each with all that they
/// say of how it becomes an object: "* filter=lfs -text".
result<std::map<std::string, std::string>>
plumbing::filter_rules(const std::vector<file_entry>& entries) const {
  std::map<std::string, std::string> out;
  auto names = filter_names();
  if (!names) return names.err();
  if (names->empty()) return out;
  auto p = call_in_repo({"check-attr", "-z", "--stdin", "filter", "text", "eol", "crlf", "ident",
                         "working-tree-encoding"});
  for (const auto& e : entries)
    if (e.type == file_entry::kind::file) (p.stdin_data += e.path) += '\0';
  if (p.stdin_data.empty()) return out;
  auto told = run_for_output(p);
  if (!told) return told.err();
  std::set<std::string> filtered;
  auto items = split_nul(*told); // PATH, NAME, VALUE
  for (std::size_t i = 0; i + 2 < items.size(); i += 3) {
    const auto &name = items[i + 1], &value = items[i + 2];
    auto& rule = out.try_emplace(items[i], "*").first->second;
    if (name == "filter") { // one that is configured, whatever its name
      if (names->contains(value)) filtered.insert(items[i]);
      rule += " filter=" + value;
    } else {
      rule += value == "unspecified" ? " !" + name
              : value == "unset"     ? " -" + name
              : value == "set"       ? " " + name
                                     : " " + name + "=" + value;
    }
  }
  std::erase_if(out, [&](const auto& x) { return !filtered.contains(x.first); });
  return out;
}

// hash-object looks into no index, where check-attr finds the attributes of folders that have none
// in the work tree: it is told them as the attributes for all files.
result<std::string> plumbing::hash_filtered(const file_entry& entry, int root,
                                            const std::string& rule) const {
  auto rules = scratch_ + "/attributes";
  unique_fd to{::open(rules.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  if (!to) return io_error(rules, errno);
  if (auto written = write_all(to.get(), rule + "\n"); !written) return written.err();
  unique_fd from{open_beneath(root, entry.path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (!from && (errno == ENOENT || errno == ELOOP))
    return make_error(errc::results_changed, shown_path(entry.path));
  if (!from) return io_error(entry.path, errno);
  auto p = call_in_repo({"-c", "core.attributesFile=" + rules, "hash-object", "-w", "--stdin",
                         "--path=" + entry.path});
  p.stdin_fd = from.get();
  auto id = run_for_output(p);
  if (id && id->ends_with('\n')) id->pop_back();
  return id;
}

/// By the environment: a name with "=" in it cannot be told with -c.
result<void> plumbing::switch_filters_off(program& p) const {
  auto names = filter_names();
  if (!names) return names.err();
  std::size_t count = 0;
  auto set = [&](const std::string& key, const char* value) {
    auto n = std::to_string(count++);
    p.environment->push_back("GIT_CONFIG_KEY_" + n + "=" + key);
    p.environment->push_back("GIT_CONFIG_VALUE_" + n + "=" + value);
  };
  for (const auto& name : *names) {
    set("filter." + name + ".clean", "");
    set("filter." + name + ".process", "");
    set("filter." + name + ".required", "false");
  }
  p.environment->push_back("GIT_CONFIG_COUNT=" + std::to_string(count));
  return {};
}

} // namespace skep::transfer
