// The secrets as this daemon knows them: what each of them is now, and every value that one of them
// had since the start. A key that was replaced is still held by requests under way and may come
// back in answers, so it stays masked.
//
// It is also the one mask for everything skepd writes about itself: known secrets in all their
// forms, and what looks like one (messages/masking.hpp). Secrets that are set while the daemon runs
// count at once: their folder's time of change is looked at before each text.
//
// Thread-safe.
#pragma once

#include "messages/masking.hpp"
#include "storage/secrets.hpp"

#include <memory>
#include <mutex>
#include <set>

namespace skep::tools {

class secret_guard {
public:
  secret_guard(std::filesystem::path folder, std::shared_ptr<storage::secret_store> secrets);
  /// A text through the mask.
  std::string operator()(std::string_view text);
  /// The secret as it is now, empty when it is not set or cannot be read. Reads its file; what it
  /// gives is masked from then on.
  std::string value(const std::string& name);
  /// Every value since the start, those of now included.
  std::vector<std::string> seen();

private:
  std::shared_ptr<const redactor> present();
  /// Takes in what changed; the mutex is held.
  void look();
  void remember(std::string value);
  std::filesystem::path folder_;
  std::shared_ptr<storage::secret_store> secrets_;
  std::mutex mutex_;
  std::int64_t changed_ns_ = -1;
  std::set<std::string> seen_;
  std::shared_ptr<const redactor> redactor_; ///< Null: to be made of seen_.
};

} // namespace skep::tools
