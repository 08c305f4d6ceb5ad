#include "guest/git.hpp"

#include <algorithm>

namespace skep::guest {

transfer::program git::call(std::vector<std::string> arguments) const {
  transfer::program p;
  p.argv = {"git"};
  for (const char* setting :
       {"core.hooksPath=/dev/null", "core.fsmonitor=false", "commit.gpgSign=false", "gc.auto=0",
        "maintenance.auto=false", "core.attributesFile=/dev/null", "core.excludesFile=/dev/null",
        "core.quotePath=true", "advice.addEmbeddedRepo=false", "core.autocrlf=false",
        "core.safecrlf=false", "core.untrackedCache=false"}) {
    p.argv.push_back("-c");
    p.argv.push_back(setting);
  }
  p.argv.insert(p.argv.end(), arguments.begin(), arguments.end());
  p.environment = transfer::git_environment();
  p.environment->insert(p.environment->end(),
                        {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"});
  p.environment->insert(p.environment->end(), extra_.begin(), extra_.end());
  p.working_dir = dir_;
  p.limit = limit_;
  return p;
}

result<std::string> git::out(std::vector<std::string> arguments) const {
  return transfer::run_for_output(call(std::move(arguments)));
}

result<std::string> git::line(std::vector<std::string> arguments) const {
  auto text = out(std::move(arguments));
  if (text && text->ends_with('\n')) text->pop_back();
  return text;
}

result<void> git::run(std::vector<std::string> arguments) const {
  auto text = out(std::move(arguments));
  if (!text) return text.err();
  return {};
}

result<bool> git::test(std::vector<std::string> arguments) const {
  auto ran = transfer::run_program(call(std::move(arguments)));
  if (!ran) return ran.err();
  return ran->good();
}

bool is_object_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64)
         && std::all_of(text.begin(), text.end(),
                        [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

} // namespace skep::guest
