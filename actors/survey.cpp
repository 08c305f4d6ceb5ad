#include "actors/survey.hpp"

namespace skep::actors {
namespace {

constexpr std::size_t most_ids = 100;

} // namespace

sandbox::list_filter survey::filter(const std::string& install_id) const {
  sandbox::list_filter out;
  out.metadata["skep.install"] = install_id;
  if (!what_.swarm.empty()) out.metadata["skep.swarm"] = what_.swarm.value;
  if (!what_.sandbox.empty()) out.metadata["skep.sandbox"] = what_.sandbox.value;
  return out;
}

void survey::add(const std::string& remote_id) {
  if (so_far_.ids.size() < most_ids) so_far_.ids.push_back(remote_id);
}

std::vector<std::string> survey::listed(const std::string& provider,
                                        const std::vector<sandbox::listed>& list) {
  awaited_.erase(provider);
  std::vector<std::string> out;
  for (const auto& x : list) {
    if (!seen_.insert(x.remote_id).second) continue;
    ++so_far_.listed;
    add(x.remote_id);
    out.push_back(x.remote_id);
  }
  return out;
}

void survey::unanswered(const std::string& name, const error& why) {
  awaited_.erase(name);
  so_far_.unanswered.push_back(name + ": " + render(why));
}

void survey::looked_at(const std::string& remote_id, bool lives, const error& why) {
  awaited_.erase(remote_id);
  if (lives) {
    ++so_far_.unlisted;
    add(remote_id);
  } else if (why.code != errc::not_found && why.code != errc::gone) {
    unanswered(remote_id, why);
  }
}

std::vector<std::string> survey::in_no_list(const std::string& provider) const {
  std::vector<std::string> out;
  for (const auto& x : living_)
    if (x.provider == provider && !x.remote_id.empty() && seen_.count(x.remote_id) == 0)
      out.push_back(x.remote_id);
  return out;
}

survivors_reply survey::reply() const {
  auto out = so_far_;
  for (const auto& name : awaited_)
    out.unanswered.push_back(name + ": no answer yet");
  return out;
}

} // namespace skep::actors
