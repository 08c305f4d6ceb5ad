// The one mask for everything skepd writes about itself: known secrets in all their forms, and what
// looks like one (messages/masking.hpp). Secrets that are set while the daemon runs count at once:
// their folder's time of change is looked at before each text.
//
// Thread-safe.
#pragma once

#include "messages/masking.hpp"
#include "storage/secrets.hpp"

#include <memory>
#include <mutex>

namespace skep::tools {

class secret_guard {
public:
  secret_guard(std::filesystem::path folder, std::shared_ptr<storage::secret_store> secrets);
  std::string operator()(std::string_view text);

private:
  std::shared_ptr<const redactor> present();
  std::filesystem::path folder_;
  std::shared_ptr<storage::secret_store> secrets_;
  std::mutex mutex_;
  std::int64_t changed_ns_ = -1;
  std::shared_ptr<const redactor> redactor_;
};

} // namespace skep::tools
