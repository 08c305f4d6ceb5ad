#include "host/sim/box.hpp"

#include "transfer/sha256.hpp"

namespace skep::host::sim {

namespace {
constexpr std::size_t worth_sharing_bytes = 4096;
}

content surroundings::share(std::string text) {
  if (text.size() < worth_sharing_bytes) return std::make_shared<std::string>(std::move(text));
  auto& known = contents[transfer::sha256_of(text)];
  if (auto same = known.lock()) return same;
  content made = std::make_shared<std::string>(std::move(text));
  known = made;
  return made;
}

void box::furnish() {
  for (const char* path : {home_path, "/tmp", "/usr/bin", "/etc"})
    files.make_directory(path);
  files.write("/etc/hostname", std::make_shared<std::string>(info.sandbox_id + "\n"));
}

string_map box::environment() const {
  string_map out = {{"PATH", "/usr/local/bin:/usr/bin:/bin"},
                    {"HOME", home_path},
                    {"USER", "user"},
                    {"LOGNAME", "user"},
                    {"E2B_SANDBOX", "true"},
                    {"E2B_SANDBOX_ID", info.sandbox_id},
                    {"E2B_TEMPLATE_ID", info.template_id}};
  for (const auto& [name, value] : env_vars)
    out[name] = value;
  return out;
}

void box::set_paused(bool paused) {
  paused_ = paused;
  if (paused) return;
  for (auto& [dir, p] : panes)
    if (p->agent) p->agent->wake();
  for (auto& p : processes.running())
    p->wake();
}

void box::end() {
  dead = true;
  for (auto& [dir, p] : panes)
    if (p->agent) p->agent->signal(SIGKILL);
  for (auto& p : processes.running())
    p->signal(SIGKILL);
  changed.notify();
}

} // namespace skep::host::sim
