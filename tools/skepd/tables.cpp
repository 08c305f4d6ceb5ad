#include "tools/skepd/tables.hpp"

#include <set>

namespace skep::tools {
namespace {

// The intent is among the first events of its sandbox, so that a page or two are read.
result<utc_time> intended_at(storage::reader& r, const sandbox_id& id, const std::string& intent) {
  storage::chunk_selector want;
  want.sandbox = id;
  for (;;) {
    auto page = r.read_chunks(want);
    if (!page) return page.err();
    for (const auto& c : page->chunks)
      for (event_reader events{c.body.data}; !events.done();) {
        auto raw = events.next();
        if (!raw) return raw.err();
        auto e = interpret(*raw);
        if (!e) continue; // of a newer release
        if (auto* x = std::get_if<create_intended>(&*e); x && x->intent == intent) return raw->at;
      }
    if (page->next > page->head) return make_error(errc::not_found, "no intent of this name");
    want.from = page->next;
  }
}

} // namespace

result<std::vector<actors::open_run>> state_reader::open_runs() {
  auto rows = with([](storage::reader& r) { return r.open_swarms(); });
  if (!rows) return rows.err();
  std::vector<actors::open_run> out;
  for (auto& row : *rows)
    out.push_back({std::move(row.record), unpack<swarm_spec>(row.spec.data)});
  return out;
}

void bind_tables(actors::services& svc, std::shared_ptr<state_reader> t) {
  svc.load_swarm = [t](const swarm_id& id) {
    return t->with([&](storage::reader& r) { return r.swarm(id); });
  };
  svc.load_sandboxes = [t](const swarm_id& id) {
    return t->with([&](storage::reader& r) { return r.sandboxes(id); });
  };
  svc.load_sandbox = [t](const sandbox_id& id) {
    return t->with([&](storage::reader& r) { return r.sandbox(id); });
  };
  svc.load_panes = [t](const sandbox_id& id) {
    return t->with([&](storage::reader& r) { return r.panes(id); });
  };
  svc.living_sandboxes = [t] {
    return t->with([](storage::reader& r) { return r.living_sandboxes(); });
  };
  svc.switch_is_on = [t](std::string_view name) {
    return t->with([&](storage::reader& r) { return r.switch_is_on(name); });
  };
  svc.load_pane = [t](const pane_id& id) {
    return t->with([&](storage::reader& r) { return r.pane(id); });
  };
  svc.intended_at = [t](const sandbox_id& id, const std::string& intent) -> result<utc_time> {
    return t->with([&](storage::reader& r) { return intended_at(r, id, intent); });
  };
  svc.read_chunks = [t](const storage::chunk_selector& want) {
    return t->with([&](storage::reader& r) { return r.read_chunks(want); });
  };
  svc.load_replacements = [t](const swarm_id& id) {
    return t->with([&](storage::reader& r) { return r.replacements(id); });
  };
  svc.find_command =
      [t, now = svc.wall_now](
          const std::string& key) -> std::tuple<std::string, std::string, std::string> {
    auto row = t->with([&](storage::reader& r) { return r.command(key, now()); });
    if (!row || !*row) return {};
    return {(*row)->command, (*row)->fingerprint, (*row)->reply.data};
  };
  svc.load_spend = [t](utc_time now) {
    return t->with([&](storage::reader& r) { return r.spend(now); });
  };
  svc.load_uploads = [t](const std::string& provider) {
    return t->with([&](storage::reader& r) { return r.uploads(provider); });
  };
  svc.created_seq = [t](const swarm_id& id) {
    auto seq = t->with([&](storage::reader& r) { return r.created_seq(id); });
    return seq ? *seq : std::uint64_t{0};
  };
}

void bind_providers(actors::services& svc, std::shared_ptr<state_reader> t,
                    askable_providers known) {
  svc.knows_provider = known.knows;
  svc.may_hold = [known](const std::string& name) {
    return name != "local" || known.local_holds();
  };
  svc.providers_in_use = [t, known] {
    auto keyed = known.with_key();
    std::set<std::string> names(keyed.begin(), keyed.end());
    // At the epoch every row counts as recent: each provider that was ever used.
    if (auto rows = t->with([](storage::reader& r) { return r.providers_to_list(utc_time{}); }))
      for (const auto& [name, lives] : *rows)
        if (known.knows(name)) names.insert(name);
    if (!known.local_holds())
      names.erase("local");
    else
      names.insert("local");
    return std::vector<std::string>(names.begin(), names.end());
  };
}

actors::reaper_tables reaper_tables_of(std::shared_ptr<state_reader> t, askable_providers known,
                                       std::function<utc_time()> now) {
  actors::reaper_tables out;
  out.unconfirmed_kills = [t] {
    return t->with([](storage::reader& r) { return r.unconfirmed_kills(); });
  };
  out.unresolved_creates = [t] {
    return t->with([](storage::reader& r) { return r.unresolved_creates(); });
  };
  out.kept_past_lease = [t](utc_time at) {
    return t->with([&](storage::reader& r) { return r.kept_past_lease(at); });
  };
  out.sandbox = [t](const sandbox_id& id) {
    return t->with([&](storage::reader& r) { return r.sandbox(id); });
  };
  auto named = [t, known, now = std::move(now)](bool living) {
    std::vector<std::string> names;
    if (auto rows = t->with([&](storage::reader& r) { return r.providers_to_list(now()); }))
      for (const auto& [name, lives] : *rows)
        if (lives == living && known.knows(name)) names.push_back(name);
    return names;
  };
  out.providers = [named] { return named(true); };
  out.recent = [named, known] {
    auto names = named(false);
    // Its host would be started for a look, or kept from its end.
    if (!known.local_holds()) std::erase(names, "local");
    return names;
  };
  out.configured = [known] {
    auto names = known.with_key();
    if (known.local_holds()) names.emplace_back("local");
    return names;
  };
  return out;
}

} // namespace skep::tools
