#include "tools/skepd/secret_guard.hpp"

#include <ctime>
#include <sys/stat.h>

namespace skep::tools {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

std::int64_t in_ns(const timespec& t) {
  return static_cast<std::int64_t>(t.tv_sec) * second_ns + t.tv_nsec;
}

/// When the folder changed, or -1 for what must be looked at again: no such folder, or a change so
/// young that the next one may get the same time, since file systems count in ticks.
std::int64_t settled_change(const std::filesystem::path& folder) {
  struct stat st {};
  timespec now{};
  if (::stat(folder.c_str(), &st) != 0 || ::clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  const auto changed = in_ns(st.st_mtim);
  return in_ns(now) - changed > second_ns ? changed : -1;
}

} // namespace

secret_guard::secret_guard(std::filesystem::path folder,
                           std::shared_ptr<storage::secret_store> secrets)
    : folder_(std::move(folder)), secrets_(std::move(secrets)) {}

void secret_guard::look() {
  const auto changed = settled_change(folder_);
  if (changed >= 0 && changed == changed_ns_) return;
  bool whole = true;
  auto names = secrets_->list();
  if (names) {
    for (const auto& name : *names) {
      auto value = secrets_->get(name);
      if (value)
        remember(std::move(*value));
      else
        whole = false;
    }
  }
  changed_ns_ = names && whole ? changed : -1;
}

void secret_guard::remember(std::string value) {
  if (seen_.insert(std::move(value)).second) redactor_.reset();
}

std::shared_ptr<const redactor> secret_guard::present() {
  std::lock_guard guard{mutex_};
  look();
  if (!redactor_)
    redactor_ =
        std::make_shared<const redactor>(std::vector<std::string>(seen_.begin(), seen_.end()));
  return redactor_;
}

std::string secret_guard::value(const std::string& name) {
  auto now = secrets_->get(name);
  if (!now) return {};
  std::lock_guard guard{mutex_};
  remember(*now);
  return std::move(*now);
}

std::vector<std::string> secret_guard::seen() {
  std::lock_guard guard{mutex_};
  look();
  return {seen_.begin(), seen_.end()};
}

std::string secret_guard::operator()(std::string_view text) {
  return (*present())(text);
}

} // namespace skep::tools
