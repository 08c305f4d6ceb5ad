// What ADMISSION does about budgets once a second: warnings, winding down, the kill, and what is
// left for models. No actor: it sends on ADMISSION's behalf, and has it journal.
#pragma once

#include "actors/command_desk.hpp"
#include "actors/spend.hpp"

#include <set>

namespace skep::actors {

class budget_watch {
public:
  /// Puts a chunk on disk, then says whether it is there; in ADMISSION's context.
  using append = std::function<void(chunk_ptr, std::function<void(bool stored)>)>;

  budget_watch(services_ptr svc, std::shared_ptr<swarm_registry> swarms, append to_disk)
      : svc_(std::move(svc)), swarms_(std::move(swarms)), append_(std::move(to_disk)) {}

  /// Does what is due. True while it must look again: a budget is in force over something that
  /// costs or may begin to.
  bool look(const storage::spend_state& s, utc_time now);
  /// Tells SANDBOXES what their models may cost (svc->rests).
  void publish(const storage::spend_state& s, utc_time now);
  void clear();

private:
  void warn(const storage::spend_state& s, const budget_view& b);
  /// How long a swarm winds down for a budget: since when, and the last look that it was due at.
  struct winding {
    utc_time since{};
    utc_time seen{};
  };

  /// A budget of all swarms.
  void enforce(const storage::spend_state& s, const budget_view& b, utc_time now);
  void stop(const swarm_record& w, const budget_view& b, double usd_per_hour, utc_time now);
  void end_kept(const storage::placed_sandbox& x);
  void look_at_kept(const storage::spend_state& s, utc_time now);
  template <event E>
  void journal(const swarm_id& swarm, const sandbox_id& sandbox, const E& e,
               std::function<void(bool stored)> then);

  services_ptr svc_;
  std::shared_ptr<swarm_registry> swarms_;
  append append_;
  std::set<std::string> warned_; ///< On their way to the disk, or there.
  std::map<swarm_id, winding> winding_;
  std::set<sandbox_id> ended_; ///< Kept ones whose kill intent is on its way.
};

/// bad_argument or out_of_range for a budget that cannot be set.
error check_budget(const budget_set_request& r);

} // namespace skep::actors
