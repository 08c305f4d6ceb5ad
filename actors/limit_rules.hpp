// The limits of providers and what they say about one more sandbox: the one table of rules, and the
// decision, without an actor or a clock.
//
//   max_active            sandboxes that hold a place at the provider
//   max_active_per_repo   the same, of one repository
//   creates_per_minute    creates that were intended in the last 60 s, ... 3,600 s, ... 86,400 s;
//   creates_per_hour      failed ones too, unless the provider refused them for its own quota or
//   creates_per_day       rate, or they were called off before the provider was asked
//   max_starting          sandboxes between the intent of their create and the start of their
//                         agents: more at once would only make each other late. It passes within
//                         moments, so that it refuses nobody, not even who does not queue
//
// All are enforced together: the first one that is reached, in this order, is the one that is told.
#pragma once

#include "messages/commands.hpp"
#include "messages/error.hpp"
#include "storage/spend_state.hpp"

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace skep::actors {

/// A number, or no limit. 0 lets nothing through.
using max_count = std::optional<std::uint32_t>;

/// The entry of one provider.
struct provider_rules {
  double usd_per_hour = 0; ///< Of one sandbox's time. >= 0.
  max_count max_active;
  max_count max_active_per_repo;
  max_count creates_per_minute;
  max_count creates_per_hour;
  max_count creates_per_day;
  max_count max_starting = 64;
  /// Where its settings stand in skep.toml: "local", "providers.cloud".
  std::string section;
};

/// What a provider whose sandboxes cost money has without settings of its own.
provider_rules metered_rules(std::string section);

/// Every limit there is.
struct limit_table {
  std::map<std::string, provider_rules> providers;
  std::optional<double> day_usd, month_usd; ///< Of skep.toml; a command goes before it.

  /// The rules of a provider; none limits one that has no entry.
  const provider_rules& of(const std::string& provider) const;
};

/// A limit that is reached.
struct hold {
  std::string rule;
  std::uint64_t limit = 0;
  std::uint64_t count = 0;
  std::chrono::milliseconds wait{
      0};               ///< Until it lets one more through, as far as known; 0: unknown. Of a
                        ///< lease that is over: until the provider is asked for it next.
  std::string setting;  ///< "providers.cloud.max_active"
  bool of_repo = false; ///< Holds sandboxes of one repository alone.
  bool passing = false; ///< max_starting: waited for, never a reason to refuse.
};
/// "10 of 10 (max_active), about 40 s; providers.cloud.max_active would let it go on"
std::string text_of(const hold& h);
/// The refusal of who does not wait: quota, or rate for the limits of creations.
error refusal(const hold& h);

/// What counts against the rules of one provider at one moment.
struct provider_load {
  std::uint64_t active = 0;
  std::uint64_t starting = 0; ///< Of those active: whose agents were not begun yet.
  std::map<std::string, std::uint64_t> active_of; ///< By repository.
  std::vector<utc_time> creates;                  ///< Of the last 24 h, oldest first.
  std::vector<utc_time> lease_ends; ///< Of those active, in order; unknown ones left out.

  /// One more, now, which may live for `longest` (0: nobody knows).
  void add(const std::string& repo, utc_time now,
           std::chrono::milliseconds longest = std::chrono::milliseconds{0});
};
provider_load load_of(const storage::spend_state& s, const std::string& provider);

/// The first limit that one more sandbox of `repo` would break; nothing: none. `ahead`: how many
/// wait before it, for the estimate alone.
std::optional<hold> first_hold(const provider_rules& rules, const provider_load& load,
                               const std::string& repo, utc_time now, std::size_t ahead = 0);

/// never_fits with the rule's name where no waiting would ever let `sandboxes` of a run through.
error never_fits(const provider_rules& rules, const swarm_spec& spec, std::uint32_t sandboxes,
                 double reserved_usd);

/// True for the limit that passes by itself: it refuses nobody (hold::passing).
bool passes(std::string_view rule);

/// The lines of `skep budget`. What counts against max_active_per_repo is of `repo`, or of the
/// busiest repository where none is given.
std::vector<limit_line> limit_lines(const std::string& provider, const provider_rules& rules,
                                    const provider_load& load, utc_time now,
                                    const std::string& repo = {});

} // namespace skep::actors
