// The whole tree of the daemon without network, time or threads: real supervisors and actors, the
// real database in a folder of its own, a provider in memory. Only PUBLISHER and CONTROL are
// stand-ins; requests go to the desk as CONTROL would send them.
#pragma once

#include "actors/storage_backend.hpp"
#include "actors/tree.hpp"
#include "messages/json.hpp"
#include "tests/actors/domain_fixture.hpp"
#include "tests/transfer/repo.hpp"

namespace skep::test {

/// The database, with what was committed also in the log that `world` reads.
class watched_backend : public journal_backend {
public:
  watched_backend(std::unique_ptr<journal_backend> real, std::shared_ptr<memory_log> log)
      : real_(std::move(real)), log_(std::move(log)) {}
  result<void> begin() override { return real_->begin(); }
  result<std::uint64_t> append(chunk& c) override {
    if (log_->refuse)
      if (auto e = log_->refuse(c)) return e;
    auto seq = real_->append(c);
    if (seq) pending_.push_back(c);
    return seq;
  }
  result<void> commit() override {
    auto done = real_->commit();
    if (done)
      for (auto& c : pending_)
        log_->committed.push_back(std::move(c));
    pending_.clear();
    if (log_->on_commit) log_->on_commit();
    return done;
  }
  bool broken() const override { return real_->broken(); }
  std::uint64_t head() const override { return real_->head(); }
  std::string stream_id() const override { return real_->stream_id(); }

private:
  std::unique_ptr<journal_backend> real_;
  std::shared_ptr<memory_log> log_;
  std::vector<chunk> pending_;
};

inline publisher_actor::behavior_type deaf_publisher(publisher_actor::pointer) {
  return {[](publish_a, const chunk_ptr&) {}, [](output_a, const output_ptr&) {}, [](pump_a) {},
          [](tick_a) {}};
}
inline control_actor::behavior_type deaf_control(control_actor::pointer) {
  return {[](pump_a) {}};
}

/// Stands in for the REAPER and notes what it could see when it was told to look.
struct reaper_probe {
  strings looks;
};
inline reaper_actor::behavior_type noting_reaper(reaper_actor::pointer, reaper_probe* to,
                                                 std::function<std::string()> see) {
  return {[to, see](kill_a) { to->looks.push_back(see()); }, [](tick_a) {},
          [](done_a, const continuation& c) { c.run(); }};
}

using reply_ptr = std::shared_ptr<std::optional<reply_frame>>;

struct tree_world : world {
  test::repo tree;
  std::optional<storage::reader> tables;
  std::shared_ptr<swarm_registry> registry = std::make_shared<swarm_registry>();
  std::chrono::milliseconds wall_jump{0}; ///< Somebody set the wall clock forward by this.
  int controls_started = 0;
  int shut_downs = 0;
  std::function<void()> on_control_start;
  std::function<reaper_tables()> reaper_reads; ///< Set: instead of those of this fixture.
  std::function<result<std::vector<open_run>>()> open_runs; ///< Set: instead of this fixture's.
  supervisor_actor root;

  /// The next daemon cannot read what its open runs were started with.
  void lose_specs() {
    open_runs = [this]() -> result<std::vector<open_run>> {
      auto rows = tables->open_swarms();
      if (!rows) return rows.err();
      std::vector<open_run> out;
      for (const auto& row : *rows)
        out.push_back({row.record, make_error(errc::protocol, "not a spec")});
      return out;
    };
  }

  tree_world() {
    v.stop_roots(); // the journal in memory and its recorder
    tree.put("README", "a work tree\n");
    tree.commit();
    spec->repo = tree.path;
    spec->sandboxes = 1;
    spec->panes = 1;
    std::filesystem::create_directories(svc->state_dir);
    if (auto opened = open_database(); !opened) FAIL(render(opened.err()));
    bind();
    guest["unpack"] = [this](const sandbox::command&) { return unpacked(); };
  }
  ~tree_world() {
    if (!ended) finish();
  }

  /// Ends the daemon in order; nothing may be left.
  void finish() {
    root = nullptr;
    CHECK(end() == 0);
  }

  std::filesystem::path database() const { return svc->state_dir / "skep.db"; }
  result<storage::journal> open_database() {
    storage::journal_options o;
    o.checkpoint_thread = false;
    o.check = false;
    return storage::journal::open(database(), o);
  }

  /// Starts a daemon; after stop() another one, as a restart.
  void start() {
    tree_parts p;
    p.svc = svc;
    p.journal = [this]() -> result<std::unique_ptr<journal_backend>> {
      auto j = open_database();
      if (!j) return j.err();
      return std::unique_ptr<journal_backend>{
          std::make_unique<watched_backend>(wrap_journal(std::move(*j)), log)};
    };
    p.facts.draining = [r = registry] { return r->draining(); };
    p.open_reader = [this] { return storage::reader::open(database()); };
    p.tables.unconfirmed_kills = [this] { return tables->unconfirmed_kills(); };
    p.tables.unresolved_creates = [this] { return tables->unresolved_creates(); };
    p.tables.sandbox = [this](const sandbox_id& id) { return tables->sandbox(id); };
    p.tables.providers = [] { return strings{"local"}; };
    if (reaper_reads) p.tables = reaper_reads();
    p.open_runs = [this]() -> result<std::vector<open_run>> {
      if (open_runs) return open_runs();
      std::vector<open_run> out;
      auto rows = tables->open_swarms().value();
      for (auto& row : rows)
        out.push_back({row.record, unpack<swarm_spec>(row.spec.data).value()});
      return out;
    };
    p.registry = registry;
    p.start_publisher = [](caf::actor_system& sys) { return sys.spawn(deaf_publisher); };
    p.start_control = [this](caf::actor_system& sys) {
      ++controls_started;
      if (on_control_start) on_control_start();
      return sys.spawn(deaf_control);
    };
    p.own_threads = false;
    root = v.root(start_tree(v.sys, std::move(p)));
    settle();
  }
  /// As SIGTERM does: the tree goes, sandboxes stay.
  void stop() {
    root = nullptr;
    v.stop_roots();
    settle();
    CHECK(v.running() == 0);
  }

  // -- requests -----------------------------------------------------------------------------------

  /// Sends a request and runs nothing; for hooks that are called from inside an actor.
  template <class R>
  reply_ptr send(const R& r, const std::string& key = {}) {
    auto out = std::make_shared<std::optional<reply_frame>>();
    request_frame f{protocol_version, ++last_id, key, command_traits<R>::number, {pack(r)}};
    v.sys.spawn([out, f, desk = svc->handles->desk_for(f.command)](caf::event_based_actor* self) {
      self->request(desk, 60s, handle_a::value, f)
          .then([out](reply_frame& x) { *out = std::move(x); },
                [out, f](caf::error& e) {
                  *out = reply_frame{protocol_version, f.id, from_caf(e), {}};
                });
    });
    return out;
  }
  /// Sends a request; the answer may come later.
  template <class R>
  reply_ptr post(const R& r, const std::string& key = {}) {
    auto out = send(r, key);
    v.run();
    return out;
  }
  /// Sends a request whose answer needs no time.
  template <class R>
  auto call(const R& r, const std::string& key = {}) {
    auto reply = post(r, key);
    settle();
    return read<typename command_traits<R>::reply>(reply);
  }
  template <class Reply>
  static result<Reply> read(const reply_ptr& reply) {
    if (!*reply) return make_error(errc::timed_out, "no answer yet");
    if ((*reply)->failure) return (*reply)->failure;
    return unpack<Reply>((*reply)->body.data);
  }
  /// Starts a run and lets it come up.
  swarm_id run(const std::string& key = {}) {
    auto r = call(run_request{*spec}, key);
    if (!r) FAIL(render(r.err()));
    settle();
    return r->swarm;
  }

  // -- what happens in the sandboxes --------------------------------------------------------------

  std::vector<sandbox_record> sandboxes(const swarm_id& id) {
    return tables->sandboxes(id).value();
  }
  sandbox_record only_sandbox(const swarm_id& id) { return sandboxes(id).at(0); }
  swarm_record swarm(const swarm_id& id) { return tables->swarm(id).value(); }
  strings states(const swarm_id& id) {
    strings out;
    for (const auto& s : sandboxes(id))
      out.push_back(std::string{to_string(s.state)}
                    + (s.state == phase::closed ? " " + std::string{to_string(s.result)} : ""));
    return out;
  }
  std::string ending(const swarm_id& id) {
    auto s = swarm(id);
    return std::string{to_string(s.state)} + " " + std::string{to_string(s.result)};
  }
  /// True for a stream of panes' output, false for a person's terminal.
  static bool is_follower(const fake_api::stream& s) {
    return s.what.argv.size() > 1 && s.what.argv[1] == "follow";
  }
  /// The agents of a sandbox end.
  void agents_end(const sandbox_record& s, std::int32_t code = 0) {
    auto panes = tables->panes(s.sandbox).value();
    for (const auto& p : panes) {
      std::string frame;
      pack_follow(frame, follow_kind::exit, follow_exit{p.pane, p.attempt, code, 0, 0, {}});
      for (auto i = api->streams.rbegin(); i != api->streams.rend(); ++i)
        if ((*i)->open && (*i)->where.remote_id == s.remote_id && is_follower(**i)) {
          (*i)->emit(frame);
          break;
        }
    }
    settle();
    advance(1s);
  }

  // -- the tree -----------------------------------------------------------------------------------

  /// The actor at "work/swarms/sw_x/swarm"; null while it waits for its restart.
  caf::strong_actor_ptr at(const std::string& path) {
    auto h = caf::actor_cast<caf::strong_actor_ptr>(root);
    for (std::size_t from = 0; h && from <= path.size();) {
      auto to = std::min(path.find('/', from), path.size());
      auto r = v.ask<caf::strong_actor_ptr>(caf::actor_cast<supervisor_actor>(h),
                                            get_child_a::value, path.substr(from, to - from));
      h = r ? *r : nullptr;
      from = to + 1;
    }
    return h;
  }
  void crash(const std::string& path) {
    auto h = at(path);
    REQUIRE(h);
    caf::anon_send_exit(h, caf::exit_reason::unknown);
    v.run();
  }
  std::string path_of(const swarm_id& id) const { return "work/swarms/" + id.value; }
  std::string path_of(const sandbox_record& s) const {
    return path_of(s.swarm) + "/sandboxes/" + s.sandbox.value;
  }

  /// Puts a stand-in where others find the REAPER; the real one is answered, for its return.
  caf::strong_actor_ptr put_reaper(reaper_probe& probe) {
    auto real = svc->handles->find("reaper");
    auto see = [this]() -> std::string {
      if (!tables->unconfirmed_kills().value().empty()) return "an intent is on disk";
      return tables->unresolved_creates().value().empty() ? "nothing" : "a create has no answer";
    };
    auto h = v.sys.spawn(noting_reaper, &probe, std::function<std::string()>{see});
    svc->handles->put("reaper", caf::actor_cast<caf::strong_actor_ptr>(h));
    return real;
  }

private:
  void bind() {
    auto r = storage::reader::open(database());
    if (!r) throw std::runtime_error(render(r.err()));
    tables = std::move(*r);
    auto wall = svc->wall_now;
    svc->wall_now = [this, wall] { return wall() + wall_jump; };
    svc->load_swarm = [this](const swarm_id& id) { return tables->swarm(id); };
    svc->load_sandboxes = [this](const swarm_id& id) { return tables->sandboxes(id); };
    svc->load_sandbox = [this](const sandbox_id& id) { return tables->sandbox(id); };
    svc->load_panes = [this](const sandbox_id& id) { return tables->panes(id); };
    svc->living_sandboxes = [this] { return tables->living_sandboxes(); };
    svc->switch_is_on = [this](std::string_view name) { return tables->switch_is_on(name); };
    svc->load_pane = [this](const pane_id& id) { return tables->pane(id); };
    svc->find_command =
        [this](const std::string& key) -> std::tuple<std::string, std::string, std::string> {
      auto row = tables->command(key, svc->wall_now());
      if (!row || !*row) return {};
      return {(*row)->command, (*row)->fingerprint, (*row)->reply.data};
    };
    svc->read_chunks = [this](const storage::chunk_selector& want) {
      return tables->read_chunks(want);
    };
    svc->load_replacements = [this](const swarm_id& id) { return tables->replacements(id); };
    svc->load_spend = [this](utc_time now) { return tables->spend(now); };
    svc->load_uploads = [this](const std::string& provider) { return tables->uploads(provider); };
    svc->created_seq = [this](const swarm_id& id) {
      auto seq = tables->created_seq(id);
      return seq ? *seq : std::uint64_t{0};
    };
    svc->shut_down = [this] { ++shut_downs; };
  }

  // What was packed is what arrived: every swarm of a test packs the same tree.
  result<command_result> unpacked() {
    for (const auto& e : std::filesystem::directory_iterator{svc->state_dir / "work"}) {
      std::ifstream in{e.path() / "bundle.json"};
      auto j = json::parse(in, nullptr, false);
      if (j.is_object())
        return said(to_line({{"files", j["files"]},
                             {"size_bytes", j["size_bytes"]},
                             {"manifest_sha256", j["manifest_sha256"]}})
                    + "\n");
    }
    return make_error(errc::internal, "nothing was packed");
  }

  std::uint64_t last_id = 0;
};

} // namespace skep::test
