// What the scripted agents of a sandbox spend at models that are not there, and how much they may:
// the gateway's books (host/gateway/spend.hpp) without a gateway.
#pragma once

#include "host/gateway/spend.hpp"
#include "host/spec.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

namespace skep::host::sim {

/// The model that every scripted agent calls. A call's tokens are such that its price is what the
/// script says: 1 $ for a million tokens of input, 5 $ for a million of output.
inline constexpr std::string_view simulated_model = "simulated";

class spending {
public:
  spending();
  ~spending();
  spending(const spending&) = delete;
  spending& operator=(const spending&) = delete;

  /// Asked before each call of a model. Empty: it may be made; else what the gateway would answer
  /// (402 or 403), which is counted as refused.
  std::string_view refusal();
  /// A call that was made; `domain` is that of the rule it went by. The tokens it used.
  token_usage pay(std::uint64_t micro_usd, std::string_view domain);

  void allow(allowance most);
  void revoke_keys() { revoked_ = true; }
  void renew_keys() { revoked_ = false; } ///< New rules of the network bring new keys.

  /// As driver::usage() answers.
  json figures(std::uint64_t after) const;

private:
  struct books;
  books& open();

  std::unique_ptr<books> books_; ///< Made with the first entry: most sandboxes never have one.
  bool revoked_ = false;
};

} // namespace skep::host::sim
