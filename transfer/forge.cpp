#include "transfer/forge.hpp"

#include "messages/json.hpp"
#include "transfer/kept.hpp"

#include <algorithm>
#include <unistd.h>

extern char** environ;

namespace skep::transfer {
namespace {

/// The user's own, but for what would lead git to another repository.
std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e; ++e) {
    std::string_view entry{*e};
    bool leads = false;
    for (std::string_view name : {"GIT_DIR=", "GIT_WORK_TREE=", "GIT_INDEX_FILE=",
                                  "GIT_OBJECT_DIRECTORY=", "GIT_COMMON_DIR=", "GIT_NAMESPACE=",
                                  "GIT_ALTERNATE_OBJECT_DIRECTORIES=", "LC_ALL=", "LANGUAGE="})
      leads = leads || entry.starts_with(name);
    if (!leads) out.emplace_back(entry);
  }
  out.emplace_back("LC_ALL=C");
  out.emplace_back("GIT_TERMINAL_PROMPT=0");
  return out;
}

std::string last_words(std::string text, const std::string& token) {
  for (const auto& secret :
       {token, token.empty() ? token : base64_encode("x-access-token:" + token)})
    if (!secret.empty())
      for (auto at = text.find(secret); at != text.npos; at = text.find(secret, at))
        text.replace(at, secret.size(), secret.size(), '*');
  constexpr std::size_t most = 1000;
  if (text.size() > most) text.erase(0, text.size() - most);
  while (text.ends_with('\n'))
    text.pop_back();
  return text;
}

/// "https://host:port/" of an address; empty for other kinds.
std::string https_origin(const std::string& url) {
  if (!url.starts_with("https://")) return {};
  auto slash = url.find('/', 8);
  auto host = url.substr(8, slash == url.npos ? slash : slash - 8);
  if (auto at = host.rfind('@'); at != host.npos) host.erase(0, at + 1);
  return host.empty() ? std::string{} : "https://" + host + "/";
}

} // namespace

result<void> check_remote_name(const std::string& remote) {
  bool good = !remote.empty() && remote.front() != '-'
              && std::none_of(remote.begin(), remote.end(),
                              [](unsigned char c) { return c <= 0x20 || c == 0x7F || c == ':'; });
  if (good) return {};
  return make_error(errc::bad_argument, "not the name of a remote: " + shown_path(remote));
}

result<void> check_remote(const std::string& repo, const std::string& remote) {
  program names;
  names.argv = {"git", "-C", repo, "remote"};
  names.environment = own_environment();
  auto list = run_for_output(names);
  if (!list) return list.err();
  if (remote.empty() || ("\n" + *list).find("\n" + remote + "\n") == std::string::npos)
    return make_error(errc::bad_argument, "no remote of this name in " + repo + ": " + remote);
  return {};
}

result<void> push_branch(const push_options& o) {
  if (auto known = check_remote(o.repo, o.remote); !known) return known;
  program push;
  auto ref = "refs/heads/" + o.branch;
  push.argv = {"git", "-C", o.repo, "push", "--porcelain", "--", o.remote, ref + ":" + ref};
  push.environment = own_environment();
  push.limit = o.limit;
  if (!o.token.empty()) {
    program where;
    where.argv = {"git", "-C", o.repo, "remote", "get-url", "--push", o.remote};
    where.environment = own_environment();
    auto url = run_for_output(where);
    if (!url) return url.err();
    if (url->ends_with('\n')) url->pop_back();
    if (auto origin = https_origin(*url); !origin.empty()) {
      std::erase_if(*push.environment,
                    [](const auto& entry) { return entry.starts_with("GIT_CONFIG_COUNT="); });
      push.environment->insert(push.environment->end(),
                               {"GIT_CONFIG_COUNT=1",
                                "GIT_CONFIG_KEY_0=http." + origin + ".extraHeader",
                                "GIT_CONFIG_VALUE_0=Authorization: Basic "
                                    + base64_encode("x-access-token:" + o.token)});
    }
  }
  auto ran = run_program(push);
  if (!ran) return ran.err();
  if (!ran->good())
    return make_error(errc::push_failed, o.branch + " to " + o.remote,
                      last_words(ran->out + ran->err, o.token));
  return {};
}

result<std::vector<std::string>> forge_argv(const forge_options& o) {
  const std::pair<std::string_view, const std::string*> known[] = {
      {"branch", &o.branch}, {"target", &o.target},       {"title", &o.title},
      {"remote", &o.remote}, {"body_file", &o.body_file}, {"repo", &o.repo}};
  std::vector<std::string> out;
  for (const auto& word : o.command) {
    std::string done;
    for (std::size_t at = 0; at < word.size();) {
      auto open = word.find('{', at);
      auto close = open == word.npos ? open : word.find('}', open);
      if (close == word.npos) {
        done += word.substr(at);
        break;
      }
      done += word.substr(at, open - at);
      auto name = std::string_view{word}.substr(open + 1, close - open - 1);
      auto i = std::find_if(std::begin(known), std::end(known),
                            [&](const auto& k) { return k.first == name; });
      if (i == std::end(known))
        return make_error(errc::bad_argument,
                          "the forge command has a placeholder that is not known: {"
                              + std::string{name} + "}");
      done += *i->second;
      at = close + 1;
    }
    out.push_back(std::move(done));
  }
  if (out.empty()) return make_error(errc::bad_argument, "the forge command is empty");
  return out;
}

result<std::string> ask_forge(const forge_options& o) {
  auto argv = forge_argv(o);
  if (!argv) return argv.err();
  program p;
  p.argv = *argv;
  p.working_dir = o.repo;
  p.environment = own_environment();
  p.limit = o.limit;
  p.max_capture = 1u << 20;
  if (!o.token.empty() && !o.token_variable.empty())
    p.environment->push_back(o.token_variable + "=" + o.token);
  auto ran = run_program(p);
  if (!ran) return ran.err();
  if (!ran->good()) return make_error(errc::forge_failed, p.argv[0], last_words(ran->err, o.token));
  return last_words(ran->out, o.token);
}

} // namespace skep::transfer
