#include "actors/reaper.hpp"

#include "actors/sandbox_birth.hpp"
#include "actors/work_files.hpp"

#include <algorithm>
#include <optional>
#include <set>

namespace skep::actors {
namespace {

std::string label(const sandbox::listed& x, const char* name) {
  auto i = x.metadata.find(name);
  return i == x.metadata.end() ? std::string{} : i->second;
}

/// Where the intent to kill an orphan is. Asked: on its way to the journal, so that nobody kills
/// yet, and nobody asks again.
enum class intent_at { nowhere, asked, stored };

struct orphan {
  std::chrono::milliseconds since; ///< Seen as one since, on the boot-time clock.
  intent_at intent = intent_at::nowhere;
};

/// A kill that its provider does not confirm: when that is told next, on the boot-time clock, and
/// how long after the time before.
struct refused_kill {
  std::chrono::milliseconds tell_at, wait;
};

class reaper_impl : public domain_actor<reaper_actor> {
public:
  reaper_impl(caf::actor_config& cfg, services_ptr svc, reaper_tables tables)
      : domain_actor(cfg), svc_(std::move(svc)), tables_(std::move(tables)) {}

  const char* name() const override { return "reaper"; }

  behavior_type make_behavior() override {
    arm();
    return {[this](kill_a) { wake(); },
            [this](tick_a) {
              sweep();
              arm();
            },
            [](done_a, const continuation& c) { c.run(); }};
  }

  void on_exit() override { svc_.reset(); }

private:
  void arm() { this->delayed_send(me(), svc_->limits.reap_interval, tick_a::value); }

  // Those who tell of a whole run's sandboxes do it one by one: all who came before this actor's
  // own message is handled are served by one look.
  void wake() {
    if (std::exchange(woken_, true)) return;
    caf::anon_send(me(), done_a::value, continuation{[this] {
                     woken_ = false;
                     see_to_rows();
                   }});
  }

  void sweep() {
    see_to_rows();
    for (const auto& provider : to_list())
      look_for_orphans(provider);
  }

  // What the tables say is to be done. Nobody who wakes the REAPER waits for a list of orphans.
  void see_to_rows() {
    if (auto kills = tables_.unconfirmed_kills(); kills.ok()) repeat(*kills);
    settle_creates();
    look_at_kept();
  }

  // Where nothing of ours is known to live a list is seldom worth its call, until it shows an
  // orphan.
  std::set<std::string> to_list() {
    std::set<std::string> out;
    auto add = [&out](const std::vector<std::string>& names) {
      out.insert(names.begin(), names.end());
    };
    add(tables_.providers());
    for (const auto& [provider, seen] : orphans_)
      if (!seen.empty()) out.insert(provider);
    auto now = svc_->boot_now();
    if (listed_all_at_ && now - *listed_all_at_ < svc_->limits.quiet_interval) return out;
    if (!listed_all_at_ && tables_.configured)
      for (auto& provider : tables_.configured())
        unheard_.insert(std::move(provider));
    listed_all_at_ = now;
    out.insert(unheard_.begin(), unheard_.end());
    if (tables_.recent) add(tables_.recent());
    return out;
  }

  using client = result<std::shared_ptr<sandbox::api>>;
  using client_work = std::function<void(const client&)>;

  // Who wants a provider's client while it is asked for shares the answer: a local host that hangs
  // is waited for once, and not once a kill, while the kills at other providers wait behind.
  void with_client(const std::string& provider, client_work work) {
    auto& all = waiting_[provider];
    all.push_back(std::move(work));
    if (all.size() > 1) return;
    at_provider(svc_, provider, [this, provider](const client& api) {
      auto served = waiting_.extract(provider);
      for (const auto& each : served.mapped())
        each(api);
    });
  }

  void repeat(const std::vector<sandbox_record>& kills) {
    std::map<sandbox_id, refused_kill> still;
    for (const auto& r : kills) {
      if (r.remote_id.empty() || r.state != phase::closed) // open ones have a SANDBOX that does it
        continue;
      if (auto known = refused_.extract(r.sandbox)) still.insert(std::move(known));
      kill(r, r.remote_id);
    }
    refused_ = std::move(still);
  }

  void kill(const sandbox_record& row, const std::string& remote_id) {
    if (!under_way_.insert(row.sandbox).second) return;
    with_client(row.provider, [this, row, remote_id](const client& api) {
      if (!api) return refused(row, remote_id, api.err());
      (*api)->kill(remote_id, home<bool>([this, row, remote_id](result<bool> r) {
                     if (!r) return refused(row, remote_id, r.err());
                     journal(
                         row.swarm, row.sandbox, [this, swarm = row.swarm] { forget(swarm); },
                         kill_confirmed{remote_id});
                   }));
    });
  }

  // Not told at every look. A failure that passes is not told at all: the SANDBOX, where it gave
  // up, has said it.
  void refused(const sandbox_record& row, const std::string& remote_id, const error& why) {
    const auto& limits = svc_->limits;
    const auto now = svc_->boot_now();
    auto i = refused_.find(row.sandbox);
    if (i == refused_.end()) {
      refused_.emplace(row.sandbox,
                       refused_kill{now + limits.kill_told_first, limits.kill_told_first});
      return over(row.sandbox);
    }
    if (now < i->second.tell_at) return over(row.sandbox);
    i->second.wait =
        std::min<std::chrono::milliseconds>(10 * i->second.wait, limits.kill_told_most);
    i->second.tell_at = now + i->second.wait;
    journal(
        row.swarm, row.sandbox, [] {}, kill_unconfirmed(row.sandbox, remote_id, row.provider, why));
  }

  void over(const sandbox_id& id) { under_way_.erase(id); }

  // Nobody touches a kept sandbox before its lease is over. Then its provider's word counts, as it
  // does of every other one.
  void look_at_kept() {
    if (!tables_.kept_past_lease) return;
    auto rows = tables_.kept_past_lease(svc_->wall_now());
    if (!rows) return;
    std::map<sandbox_id, std::chrono::milliseconds> still;
    for (const auto& r : *rows) {
      auto seen = kept_seen_.find(r.sandbox);
      if (seen == kept_seen_.end()) {
        look_at(r);
        continue;
      }
      if (svc_->boot_now() - seen->second < svc_->limits.quiet_interval)
        still.insert(*seen);
      else
        look_at(r);
    }
    kept_seen_ = std::move(still);
  }

  // What is gone costs until it is seen to be: as every other sandbox, since nobody knows whether
  // it was given more time. Intent and word are stored together: nothing is left to be killed.
  void look_at(const sandbox_record& r) {
    if (!under_way_.insert(r.sandbox).second) return;
    with_client(r.provider, [this, r](const client& api) {
      if (!api) return over(r.sandbox);
      (*api)->get(r.remote_id, home<sandbox::detail>([this, r](result<sandbox::detail> there) {
                    if (!there && there.err().code == errc::not_found)
                      return journal(
                          r.swarm, r.sandbox, [this, swarm = r.swarm] { forget(swarm); },
                          kill_intended{"its lease is over"}, kill_confirmed{r.remote_id});
                    if (there.ok()) kept_seen_[r.sandbox] = svc_->boot_now();
                    over(r.sandbox);
                  }));
    });
  }

  // What was uploaded is still here where work had been left in that sandbox.
  void forget(const swarm_id& swarm) {
    svc_->pool->submit([svc = svc_, swarm] { forget_kept_upload(*svc, swarm); });
  }

  // One look a sweep for each create that its SANDBOX left unresolved, and some in between while it
  // is fresh. The time counts from the end of the sandbox, which is later than the intent.
  void settle_creates() {
    auto rows = tables_.unresolved_creates();
    if (!rows) return;
    std::map<std::string, create_search> still;
    for (const auto& r : *rows) {
      if (r.state != phase::closed || under_way_.count(r.sandbox)) continue; // or found already
      auto known = searches_.extract(r.intent);
      if (known)
        still.insert(std::move(known));
      else
        still.emplace(r.intent, create_search{r.closed_at, r.provider, svc_->limits});
      look(r);
    }
    searches_ = std::move(still);
  }

  // A create whose answer nobody waited for shows in the list within moments; until then it costs.
  void look_again_within(std::chrono::milliseconds wait) {
    if (wait >= svc_->limits.reap_interval || std::exchange(looks_soon_, true)) return;
    later(wait, [this] {
      looks_soon_ = false;
      settle_creates();
    });
  }

  void look(const sandbox_record& r) {
    with_client(r.provider, [this, r, asked_at = svc_->wall_now()](const client& api) {
      if (!api) return;
      find_by_intent(*api, svc_->install_id, r.intent,
                     home<sandbox::created>([this, r, asked_at](result<sandbox::created> found) {
                       on_look(r, asked_at, found);
                     }));
    });
  }

  void on_look(const sandbox_record& r, utc_time asked_at, const result<sandbox::created>& found) {
    auto i = searches_.find(r.intent);
    if (i == searches_.end()) return;
    if (found.ok()) {
      searches_.erase(i);
      under_way_.insert(r.sandbox); // until it is stored, or could not be
      auto& remote_id = found->address.remote_id;
      return journal(
          r.swarm, r.sandbox, [this, r, remote_id] { kill(r, remote_id); },
          sandbox_created{r.intent, remote_id, found->envd_version},
          kill_intended{"its sandbox has ended"});
    }
    if (found.err().code != errc::not_found) return; // the next sweep asks again
    if (i->second.missed(asked_at) != create_search::verdict::settled)
      return look_again_within(i->second.wait(svc_->wall_now()));
    searches_.erase(i);
    journal(
        r.swarm, r.sandbox, [] {},
        create_failed{r.intent,
                      make_error(errc::timed_out, "no sandbox came of it; it is settled")});
  }

  void look_for_orphans(const std::string& provider) {
    if (!listing_.insert(provider).second) return;
    with_client(provider, [this, provider](const client& api) {
      if (!api) {
        listing_.erase(provider);
        return;
      }
      sandbox::list_filter filter;
      filter.metadata = {{"skep.install", svc_->install_id}};
      (*api)->list(filter,
                   home<std::vector<sandbox::listed>>(
                       [this, api = *api, provider](const result<std::vector<sandbox::listed>>& r) {
                         listing_.erase(provider);
                         on_list(api, provider, r);
                       }));
    });
  }

  void on_list(const std::shared_ptr<sandbox::api>& api, const std::string& provider,
               const result<std::vector<sandbox::listed>>& r) {
    if (r.ok() || !retriable(r.err())) unheard_.erase(provider);
    if (!r) return;
    auto& known = orphans_[provider]; // a list says nothing of others'
    std::map<std::string, orphan> still;
    for (const auto& x : *r)
      consider(api, x, provider, still);
    known = std::move(still);
  }

  // An orphan dies after it was seen as one for the whole grace time: its create may just be on its
  // way.
  void consider(const std::shared_ptr<sandbox::api>& api, const sandbox::listed& x,
                const std::string& provider, std::map<std::string, orphan>& still) {
    sandbox_id id{label(x, "skep.sandbox")};
    auto known =
        id.valid() ? tables_.sandbox(id) : result<sandbox_record>(make_error(errc::not_found));
    if (!is_orphan(x, svc_->install_id, known)) return;
    auto now = svc_->boot_now();
    auto& before = orphans_[provider];
    auto i = before.find(x.remote_id);
    auto& o = still[x.remote_id] = i == before.end() ? orphan{now} : i->second;
    if (now - o.since < svc_->limits.orphan_grace) return;
    auto text = x.remote_id + " (" + id.value + ")";
    if (o.intent == intent_at::stored) return end_orphan(api, x.remote_id, text);
    if (std::exchange(o.intent, intent_at::asked) == intent_at::nowhere)
      intend_orphan_end(api, provider, x.remote_id, text);
  }

  // The intent is on disk before the call (row X-02). A disk too full for notes does not keep a
  // sandbox alive that costs money.
  void intend_orphan_end(const std::shared_ptr<sandbox::api>& api, const std::string& provider,
                         const std::string& remote_id, const std::string& text) {
    auto c = std::make_shared<chunk>();
    c->count = 1;
    pack_event(
        c->body.data, svc_->wall_now(),
        notice{severity::warning, "orphan_kill_intended",
               text + " bears our label and nobody knows it: it is ended after the grace time"});
    this->request(svc_->handles->journal(), record_deadline, append_a::value, c)
        .then(
            [this, api, provider, remote_id, text](std::uint64_t) {
              intent_is(provider, remote_id, intent_at::stored);
              end_orphan(api, remote_id, text);
            },
            [this, api, provider, remote_id, text](const caf::error& e) {
              intent_is(provider, remote_id, intent_at::nowhere); // the next sweep tries again
              if (from_caf(e).code == errc::disk_full) end_orphan(api, remote_id, text);
            });
  }

  void intent_is(const std::string& provider, const std::string& remote_id, intent_at where) {
    auto& known = orphans_[provider];
    if (auto o = known.find(remote_id); o != known.end()) o->second.intent = where;
  }

  void end_orphan(const std::shared_ptr<sandbox::api>& api, const std::string& remote_id,
                  const std::string& text) {
    api->kill(remote_id, home<bool>([this, text](result<bool> r) {
                if (r.ok())
                  note(svc_->handles->recorder(), svc_->wall_now(),
                       notice{severity::warning, "orphan_ended", "ended the orphan " + text});
              }));
  }

  // In one chunk: all of it is stored, and then `stored` is run, or nothing.
  template <class Stored, event... E>
  void journal(const swarm_id& swarm, const sandbox_id& id, Stored stored, const E&... e) {
    auto c = std::make_shared<chunk>();
    c->swarm = swarm;
    c->sandbox = id;
    c->count = sizeof...(E);
    ((c->body.data += pack_now(svc_->wall_now(), e).bytes), ...);
    request(svc_->handles->journal(), record_deadline, append_a::value, c)
        .then(
            [this, id, stored](std::uint64_t) {
              over(id);
              stored();
            },
            [this, id](caf::error&) { over(id); });
  }

  services_ptr svc_;
  reaper_tables tables_;
  /// Kills whose answer, or its place on disk, is awaited: a sweep in between does not repeat them.
  std::set<sandbox_id> under_way_;
  std::map<sandbox_id, refused_kill> refused_;
  std::map<std::string, std::map<std::string, orphan>> orphans_; ///< By provider and remote id.
  std::map<std::string, create_search> searches_;                ///< By intent.
  /// Kept sandboxes that are there past their lease: when that was seen, on the boot-time clock.
  std::map<sandbox_id, std::chrono::milliseconds> kept_seen_;
  bool looks_soon_ = false;
  bool woken_ = false; ///< A look for who woke it is on its way.
  /// What is done once a provider's client is there, by provider.
  std::map<std::string, std::vector<client_work>> waiting_;
  std::set<std::string> listing_; ///< Providers that were asked for a list and have not answered.
  std::set<std::string> unheard_; ///< Configured, and without an answer since the start.
  /// The last look at providers without a living sandbox, on the boot-time clock.
  std::optional<std::chrono::milliseconds> listed_all_at_;
};

} // namespace

notice kill_unconfirmed(const sandbox_id& id, const std::string& remote_id,
                        const std::string& provider, const error& why) {
  return {severity::warning, "kill_unconfirmed",
          id.value + ": " + provider + " has not confirmed that " + remote_id
              + " is gone; the daemon repeats the kill, and until then it may cost until its lease "
                "ends: "
              + render(why)};
}

bool is_orphan(const sandbox::listed& x, const std::string& install,
               const result<sandbox_record>& known) {
  if (label(x, "skep.install") != install) return false;
  if (!known) return known.err().code == errc::not_found;
  // A twin: the sandbox is known, but another remote one is the real one.
  if (!known->remote_id.empty() && known->remote_id != x.remote_id) return true;
  // A kill without confirmation is repeated as such. One that was confirmed may have been answered
  // in passing, without an effect: what is still listed after the grace time is there.
  const bool being_killed = known->kill_intended && !known->kill_confirmed;
  return known->state == phase::closed && !known->kept && !being_killed;
}

caf::strong_actor_ptr spawn_reaper(caf::scheduled_actor* parent, services_ptr svc,
                                   reaper_tables tables) {
  return caf::actor_cast<caf::strong_actor_ptr>(
      parent->spawn<reaper_impl>(std::move(svc), std::move(tables)));
}

} // namespace skep::actors
