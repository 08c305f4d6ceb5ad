#include "tools/skepd/secret_guard.hpp"

#include <sys/stat.h>

namespace skep::tools {

secret_guard::secret_guard(std::filesystem::path folder,
                           std::shared_ptr<storage::secret_store> secrets)
    : folder_(std::move(folder)), secrets_(std::move(secrets)) {}

std::shared_ptr<const redactor> secret_guard::present() {
  struct stat st {};
  std::int64_t changed = 0;
  if (::stat(folder_.c_str(), &st) == 0)
    changed = static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec;
  std::lock_guard guard{mutex_};
  if (redactor_ && changed == changed_ns_) return redactor_;
  std::vector<std::string> values;
  if (auto names = secrets_->list())
    for (const auto& name : *names)
      if (auto value = secrets_->get(name)) values.push_back(*value);
  redactor_ = std::make_shared<const redactor>(values);
  changed_ns_ = changed;
  return redactor_;
}

std::string secret_guard::operator()(std::string_view text) {
  return (*present())(text);
}

} // namespace skep::tools
