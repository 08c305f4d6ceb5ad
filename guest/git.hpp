// git inside a sandbox, told to ignore everything but the repository at hand.
#pragma once

#include "transfer/process.hpp"

namespace skep::guest {

/// Runs git in one directory: no hooks, no fsmonitor, no signing, no configuration outside the
/// repository, C messages.
class git {
public:
  explicit git(std::string dir, std::chrono::milliseconds limit = std::chrono::minutes{4})
      : dir_(std::move(dir)), limit_(limit) {}
  /// Adds "NAME=value" to the environment of every further call.
  void environment(std::string entry) { extra_.push_back(std::move(entry)); }

  /// The prepared call, for those who need more than its output.
  transfer::program call(std::vector<std::string> arguments) const;
  /// Its standard output; errors as run_for_output.
  result<std::string> out(std::vector<std::string> arguments) const;
  /// Its standard output without the final newline.
  result<std::string> line(std::vector<std::string> arguments) const;
  result<void> run(std::vector<std::string> arguments) const;
  /// True when it ends with exit code 0.
  result<bool> test(std::vector<std::string> arguments) const;

private:
  std::string dir_;
  std::chrono::milliseconds limit_;
  std::vector<std::string> extra_;
};

/// True for 40 or 64 hexadecimal digits.
bool is_object_id(std::string_view text);

} // namespace skep::guest
