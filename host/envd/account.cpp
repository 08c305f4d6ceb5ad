#include "host/envd/account.hpp"

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <unistd.h>

namespace skep::envd {

namespace {
// Lines of /etc/passwd and /etc/group begin alike: name:password:number:
std::map<unsigned, std::string> read_names(const char* file) {
  std::map<unsigned, std::string> out;
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    auto first = line.find(':');
    auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    unsigned id = 0;
    const char* begin = line.data() + second + 1;
    auto [end, ec] = std::from_chars(begin, line.data() + line.size(), id);
    if (ec == std::errc{} && end != begin) out.emplace(id, line.substr(0, first));
  }
  return out;
}

std::string from_environment(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? std::string{value} : std::move(otherwise);
}

std::string name_of(const std::map<unsigned, std::string>& names, unsigned id) {
  auto i = names.find(id);
  return i == names.end() ? std::to_string(id) : i->second;
}
} // namespace

account::account(const config& c)
    : users_(read_names("/etc/passwd")), groups_(read_names("/etc/group")) {
  own_name_ = name_of(users_, ::getuid());
  reset(c);
}

void account::reset(const config& c) {
  user_ = c.default_user;
  if (user_.empty()) user_ = own_name_;
  home_ = from_environment("HOME", c.default_workdir.empty() ? "/" : c.default_workdir);
  path_ = from_environment("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  workdir_ = c.default_workdir.empty() ? home_ : c.default_workdir;
  defaults_ = c.env_vars;
  defaults_.emplace_back("E2B_SANDBOX", "true");
  if (!c.sandbox_id.empty()) defaults_.emplace_back("E2B_SANDBOX_ID", c.sandbox_id);
  if (!c.template_id.empty()) defaults_.emplace_back("E2B_TEMPLATE_ID", c.template_id);
}

bool account::known(std::string_view user) const {
  return user.empty() || user == user_ || user == own_name_;
}

bool account::resolve(std::string_view path, std::string& out) const {
  if (path.find('\0') != std::string_view::npos) return false;
  if (path.empty()) {
    out = workdir_;
  } else if (path == "~") {
    out = home_;
  } else if (path.starts_with("~/")) {
    out = home_ + std::string{path.substr(1)};
  } else if (path.starts_with("~")) {
    return false;
  } else if (path.starts_with("/")) {
    out = path;
  } else {
    out = home_ + '/' + std::string{path};
  }
  // Lexically clean, as Go's filepath.Clean: the path comes back in answers.
  std::vector<std::string_view> parts;
  std::string_view rest = out;
  while (!rest.empty()) {
    auto end = rest.find('/');
    auto part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.push_back(part);
    else if (!parts.empty())
      parts.pop_back();
  }
  std::string clean;
  for (auto part : parts)
    clean.append("/").append(part);
  out = clean.empty() ? "/" : clean;
  return true;
}

std::vector<std::string>
account::environment(const std::vector<std::pair<std::string, std::string>>& extra) const {
  std::vector<std::pair<std::string, std::string>> all = {
      {"PATH", path_}, {"HOME", home_}, {"USER", user_}, {"LOGNAME", user_}};
  auto put = [&all](const std::string& name, const std::string& value) {
    for (auto& [known_name, known_value] : all)
      if (known_name == name) {
        known_value = value;
        return;
      }
    all.emplace_back(name, value);
  };
  for (const auto& [name, value] : defaults_)
    put(name, value);
  for (const auto& [name, value] : extra)
    put(name, value);
  std::vector<std::string> out;
  for (const auto& [name, value] : all)
    out.push_back(name + '=' + value);
  return out;
}

std::string account::user_name(uid_t uid) {
  return uid == ::getuid() ? user_ : name_of(users_, uid);
}
std::string account::group_name(gid_t gid) {
  return name_of(groups_, gid);
}

} // namespace skep::envd
