// A daemon without network and without time for tests of domain actors: the journal in memory, the
// provider of tests/sandbox/fake_api.hpp, a guest that answers by table, and a work pool that runs
// only while the test waits for it.
#pragma once

#include "actors/isolation_check.hpp"
#include "actors/journal.hpp"
#include "actors/limiter.hpp"
#include "actors/recorder.hpp"
#include "actors/sandbox.hpp"
#include "tests/sandbox/fake_api.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_journal.hpp"
#include "tests/support/virtual_system.hpp"
#include "transfer/sha256.hpp"

#include <cstdlib>
#include <set>
#include <stdlib.h>

namespace skep::test {

using namespace skep::actors;
using namespace std::chrono_literals;
using sandbox::command_result;
using sandbox::fake_api;
using sandbox::operation;
using strings = std::vector<std::string>;

/// A folder of its own, gone at the end.
struct scratch {
  std::filesystem::path path;
  scratch() {
    auto name = (std::filesystem::temp_directory_path() / "skep-domain-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  scratch(const scratch&) = delete;
  ~scratch() {
    std::error_code ec;
    std::filesystem::remove_all(path, ec);
  }
  std::filesystem::path file(const std::string& name, const std::string& content) const {
    std::ofstream{path / name, std::ios::binary} << content;
    return path / name;
  }
};

/// One pool thread behind a gate: jobs run only inside drain(), while the test's thread waits. So
/// no actor is touched by two threads, and a script is the same at every run.
class gated_pool {
public:
  gated_pool() { close(); }
  ~gated_pool() {
    open();
    pool->stop();
  }
  /// Runs every job that was submitted. Without one no thread is woken: a history of a test asks
  /// thousands of times.
  void drain() {
    if (pool->waiting() == 0) return;
    open();
    close();
  }
  std::shared_ptr<work_pool> pool = std::make_shared<work_pool>(1);

private:
  void open() {
    std::lock_guard guard{mutex_};
    ++opened_;
    changed_.notify_all();
  }
  void close() {
    std::unique_lock lock{mutex_};
    auto mine = ++submitted_;
    pool->submit([this, mine] {
      std::unique_lock inner{mutex_};
      reached_ = mine;
      changed_.notify_all();
      changed_.wait(inner, [&] { return opened_ >= mine; });
    });
    if (!changed_.wait_for(lock, 60s, [&] { return reached_ >= mine; }))
      throw std::runtime_error("a job of the pool never ended");
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  int submitted_ = 0, reached_ = 0, opened_ = 0;
};

inline command_result said(std::string out, int exit_code = 0) {
  return {exit_code, true, "exit status " + std::to_string(exit_code), std::move(out), {},
          false,     false};
}

/// What a fake SWARM or SANDBOX was told.
struct heard {
  strings lines;
  std::vector<sandbox_ending> endings;
  int stored = 0; ///< Words that a pane's results are here.
};
struct fake_state {
  static inline const char* name = "fake";
};
inline caf::result<caf::strong_actor_ptr, std::uint32_t> no_attach() {
  return to_caf(make_error(errc::wrong_phase));
}
inline sandbox_actor::behavior_type fake_keeper(sandbox_actor::stateful_pointer<fake_state>,
                                                heard* to) {
  return {
      [](begin_a) {},
      [](stop_a, stop_mode) {},
      [](input_a, const pane_id&, const std::string&, const std::string&) {
        return std::uint64_t{0};
      },
      [](attach_a, const attach_open_request&) { return no_attach(); },
      [](freeze_a, bool) { return std::uint64_t{0}; },
      [to](ready_a, const pane_id&) { to->lines.push_back("ready"); },
      [to](exited_a, const pane_id&, outcome result, const error& why) {
        to->lines.push_back("closed " + std::string{to_string(result)}
                            + (why ? " " + std::string{to_string(why.code)} + "@" + why.step : ""));
      },
      [to](note_a, const error& why) {
        to->lines.push_back("output lost: " + std::string{to_string(why.code)});
      },
      [to](lost_a, const error& why) {
        to->lines.push_back("lost: " + std::string{to_string(why.code)});
      },
      [to](kill_a, const error& why) {
        to->lines.push_back("reclaimed: " + std::string{to_string(why.code)});
      },
      [to](exited_a, const transfer_ending& x) {
        to->lines.push_back("transfer: " + std::string{to_string(x.why.code)});
      },
      [](tick_a) {},
      [](done_a, const continuation& c) { c.run(); },
  };
}
inline swarm_actor::behavior_type fake_swarm(swarm_actor::stateful_pointer<fake_state>, heard* to) {
  return {
      [](begin_a) { return std::uint64_t{0}; },
      [](stop_a, stop_mode) { return std::uint64_t{0}; },
      [](input_a, const pane_id&, const std::string&, const std::string&) {
        return std::uint64_t{0};
      },
      [](attach_a, const attach_open_request&) { return no_attach(); },
      [](keepers_a, const sandbox_id&) { return open_sandboxes{}; },
      [to](exited_a, const sandbox_ending& e) { to->endings.push_back(e); },
      [to](stored_a, const sandbox_id&) { ++to->stored; },
      [](tick_a) {},
      [](done_a, const continuation& c) { c.run(); },
  };
}

struct world {
  scratch tmp;
  std::shared_ptr<memory_log> log = std::make_shared<memory_log>();
  std::shared_ptr<fake_api> api = std::make_shared<fake_api>();
  heard up;
  std::shared_ptr<services> svc = std::make_shared<services>();
  std::shared_ptr<swarm_spec> spec = std::make_shared<swarm_spec>();
  context_ptr ctx = std::make_shared<sandbox_context>();
  gated_pool gate;
  std::unique_ptr<gated_pool> provider_gate; ///< Null: `gate` serves calls of the provider, too.
  bool work_hangs = false;                   ///< What `gate` is at does not end.
  /// Followers give their pulse as real ones do, half a minute after they came or later. False:
  /// they hang.
  bool pulses = true;
  std::set<const fake_api::stream*> followers_seen;
  virtual_system v;
  bool ended = false;

  /// Answers of skep-guest by its first argument; a test replaces what it wants otherwise.
  std::map<std::string, std::function<result<command_result>(const sandbox::command&)>> guest;

  world() {
    auto wall = [this] {
      return utc_time{std::chrono::duration_cast<std::chrono::milliseconds>(v.now()) + 24h};
    };
    svc->handles = std::make_shared<directory>(wall);
    svc->wall_now = wall;
    svc->boot_now = [this] {
      return std::chrono::duration_cast<std::chrono::milliseconds>(v.now());
    };
    svc->provider = [api = api](const std::string&) -> result<std::shared_ptr<sandbox::api>> {
      return std::shared_ptr<sandbox::api>{api};
    };
    svc->knows_provider = [](const std::string&) { return true; };
    svc->gateway_url = [](const std::string&) { return std::string{}; };
    svc->secret = [](const std::string&) { return std::string{"real-key-value"}; };
    svc->known_secrets = [] { return strings{"hunter2-secret"}; };
    svc->load_swarm = [](const swarm_id&) -> result<swarm_record> {
      return make_error(errc::not_found);
    };
    svc->load_sandboxes = [](const swarm_id&) -> result<std::vector<sandbox_record>> {
      return make_error(errc::not_found);
    };
    svc->load_sandbox = [](const sandbox_id&) -> result<sandbox_record> {
      return make_error(errc::not_found);
    };
    svc->load_panes = [](const sandbox_id&) -> result<std::vector<pane_record>> {
      return make_error(errc::not_found);
    };
    svc->pool = gate.pool;
    svc->state_dir = tmp.path / "state";
    svc->guest_binary = tmp.file("skep-guest", "the guest program");
    svc->guest_sha256 = std::string(64, 'a');
    svc->install_id = "in_1";
    svc->epoch = 7;
    spec->agent = agent_kind::command;
    spec->argv = {"/bin/true"};
    spec->out_dir = (tmp.path / "out").string();
    ctx->svc = svc;
    ctx->spec = spec;
    ctx->api = api;
    ctx->swarm = {"sw_a"};
    ctx->sandbox = {"sb_a"};
    script_guest();
    script_followers();
    auto journal =
        v.root(spawn_journal_undetached(v.sys, svc->handles, in_memory(log), journal_options{}));
    svc->handles->put_journal(journal);
    svc->handles->put_recorder(v.root(spawn_recorder(v.sys, {}, {}, svc->handles)));
    v.run();
  }
  ~world() {
    if (!ended) end();
  }

  /// Two pools from now on, as skepd has them.
  void part_pools() {
    provider_gate = std::make_unique<gated_pool>();
    svc->provider_pool = provider_gate->pool;
  }

  /// Stops everything; answers how many actors are left.
  std::size_t end() {
    ended = true;
    work_hangs = false;
    settle();
    v.stop_roots();
    drain();
    v.run();
    svc->handles->clear();
    api->on_stream = nullptr;
    ctx->clear();
    return v.running();
  }

  /// Until actors and pools are quiet.
  void settle() {
    do {
      v.run();
      drain();
    } while (v.run() > 0);
  }
  void drain() {
    if (!work_hangs) gate.drain();
    if (provider_gate) provider_gate->drain();
  }
  void advance(caf::timespan d) {
    constexpr caf::timespan step = 250ms;
    settle();
    for (caf::timespan done{0}; done < d; done += step) {
      v.advance(std::min(step, caf::timespan{d - done}));
      settle();
    }
  }

  /// Names of all events so far, in the journal's order, without its numbers.
  strings events() const {
    auto out = log->events();
    for (auto& e : out)
      e = e.substr(e.find(':') + 1);
    return out;
  }
  std::size_t count(const std::string& name) const {
    auto all = events();
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), name));
  }
  /// All events of one type in order.
  template <class E>
  std::vector<E> all() const {
    std::vector<E> out;
    for (const auto& c : log->committed) {
      event_reader r{c.body.data};
      while (!r.done()) {
        auto raw = r.next();
        REQUIRE(raw.ok());
        auto e = interpret(*raw);
        REQUIRE(e.ok());
        if (auto* x = std::get_if<E>(&*e)) out.push_back(*x);
      }
    }
    return out;
  }
  /// Calls of skep-guest with this first argument.
  std::size_t guest_calls(const std::string& word) const {
    auto start = ctx->guest_path() + " " + word;
    return static_cast<std::size_t>(
        std::count_if(api->calls.begin(), api->calls.end(), [&](const fake_api::record& c) {
          return c.op == operation::run && (c.what == start || c.what.starts_with(start + " "));
        }));
  }

  /// Downloads of this file that were begun.
  std::size_t asked_for(const std::string& ending) const {
    auto is = [&](const fake_api::record& c) {
      return c.op == operation::download_file && c.what.ends_with(ending);
    };
    return static_cast<std::size_t>(std::count_if(api->calls.begin(), api->calls.end(), is));
  }
  bool has_patch(const std::string& pane) const {
    return std::filesystem::exists(tmp.path / "out" / "sw_a" / (pane + ".patch"));
  }

  /// Signals to agents, by name, in order.
  strings signals() const {
    strings out;
    for (const auto& c : api->calls)
      if (auto at = c.what.find(" --signal "); at != c.what.npos)
        out.push_back(c.what.substr(at + 10));
    return out;
  }
  /// No agent was told anything but to go on, as those are that were found running.
  bool agents_left_alone() const {
    auto told = signals();
    return std::all_of(told.begin(), told.end(), [](const auto& name) { return name == "CONT"; });
  }

  supervisor_actor under_supervisor(child_spec child) {
    child.restart = restart_kind::temporary;
    auto h = v.root(spawn_supervisor(v.sys, supervisor_options{}, {std::move(child)}));
    v.run();
    return h;
  }

  /// The answer to isolation_question of a sandbox that bears `mark`; by default a good one.
  static std::string inside(const std::string& mark, const std::string& user = "1000",
                            const place& where = {"another boot", "mnt:[1]", "pid:[2]"}) {
    return user + "\n" + mark + "\n" + where.boot + "\n" + where.files + "\n" + where.processes
           + "\n";
  }
  /// The mark that the create of a sandbox gave it; that of a former daemon is "former".
  std::string mark_of(const std::string& remote_id) {
    // A sandbox that a script puts there has its intent as a label alone.
    const auto& box = api->boxes.at(remote_id);
    auto mark = box.params.env.find(std::string{mark_variable});
    if (mark != box.params.env.end()) return mark->second;
    auto label = box.info.metadata.find("skep.intent");
    return label == box.info.metadata.end() ? "former" : label->second;
  }

  /// What `skep-guest reach` says of all that it is asked: nothing is reached, but what `open`
  /// names, by its target, with an HTTP status that is not 0.
  static std::string reached_from_inside(const sandbox::command& c,
                                         const std::map<std::string, int>& open = {}) {
    auto list = json::array();
    for (std::size_t i = 2; i + 1 < c.argv.size(); i += 2) {
      if (c.argv[i] != "--http" && c.argv[i] != "--tls") continue;
      auto there = open.find(c.argv[i + 1]);
      json one = {{"target", c.argv[i + 1]},
                  {"state", there == open.end() ? "unreachable" : "answered"}};
      if (there != open.end() && there->second != 0) one["status"] = there->second;
      list.push_back(std::move(one));
    }
    return to_line(json{{"targets", std::move(list)}});
  }

  /// What `skep-guest parts` says of a folder of this sandbox.
  result<command_result> parts_there(const sandbox::remote& where, const std::string& dir) {
    auto list = json::array();
    for (const auto& [path, content] : api->boxes.at(where.remote_id).files)
      if (path.starts_with(dir + "/"))
        list.push_back({{"name", path.substr(dir.size() + 1)},
                        {"size_bytes", content.size()},
                        {"sha256", transfer::sha256_of(content)}});
    return said(to_line({{"parts", std::move(list)}}) + "\n");
  }

  /// The first frame of every follower.
  static std::string hello() {
    std::string out;
    pack_follow(out, follow_kind::hello, follow_hello{"1.0", 7});
    return out;
  }
  bool is_follower(const fake_api::stream& s) const {
    return s.what.argv.size() > 1 && s.what.argv[1] == "follow";
  }
  /// One that looks for the rest of a log, by its short life.
  bool is_last_look(const fake_api::stream& s) const {
    const auto& argv = s.what.argv;
    auto life = std::find(argv.begin(), argv.end(), "--deadline-s");
    return is_follower(s) && life != argv.end()
           && *(life + 1) == std::to_string(svc->limits.last_look.count());
  }

private:
  // Followers begin with a hello. A last look brings nothing more, and takes no time, unless a test
  // has it otherwise.
  void script_followers() {
    api->on_stream = [this](fake_api::stream& s) {
      if (is_follower(s)) s.emit(hello());
      if (is_last_look(s)) s.end(0);
    };
    v.outside = [this] {
      if (!pulses) return;
      std::string pulse;
      pack_follow(pulse, follow_kind::pulse, follow_pulse{1});
      for (const auto& s : std::vector{api->streams})
        if (s->open && !s->paused && is_follower(*s) && api->boxes.contains(s->where.remote_id)
            && !followers_seen.insert(s.get()).second)
          s->emit(pulse);
    };
  }

  void script_guest() {
    auto says = [](std::string text) {
      return [text](const sandbox::command&) -> result<command_result> { return said(text); };
    };
    guest["--version"] = says("skep-guest 1.0\n");
    guest["pane"] = says("{\"pid\":42}\n");
    guest["signal"] = says("{}\n");
    guest["input"] = says("{\"state\":\"written\"}\n");
    guest["unpack"] = says("{\"files\":3,\"size_bytes\":300,\"manifest_sha256\":\"cafe\"}\n");
    guest["base"] = says("{\"commit\":\"b45e\",\"is_head\":false}\n");
    guest["worktree"] = says("{}\n");
    guest["/bin/chmod"] = says("");
    api->on_run = [this](const sandbox::remote& where,
                         const sandbox::command& c) -> result<command_result> {
      auto word = c.argv[0] == ctx->guest_path() ? c.argv.at(1) : c.argv[0];
      auto i = guest.find(word);
      if (i != guest.end()) return i->second(c);
      if (word == "diff") return empty_diff(where, c);
      if (word == "parts") return parts_there(where, c.argv.at(3));
      if (word == "reach") return said(reached_from_inside(c) + "\n");
      if (word == "/bin/sh") return said(inside(mark_of(where.remote_id)));
      return said("{\"message\":\"no such command in this test: " + word + "\"}", 2);
    };
  }

  // A tree in which nothing changed: an empty patch and an empty archive.
  result<command_result> empty_diff(const sandbox::remote& where, const sandbox::command& c) {
    auto after = [&](const char* option) {
      return *(std::find(c.argv.begin(), c.argv.end(), option) + 1);
    };
    std::string tar(1024, '\0');
    auto& files = api->boxes.at(where.remote_id).files;
    files[after("--out") + "/" + after("--name") + ".patch"] = "";
    files[after("--out") + "/" + after("--name") + ".tar"] = tar;
    json j;
    j["commits"] = 0;
    for (auto* k : {"modified", "added", "deleted", "renamed", "nested"})
      j[k] = json::array();
    j["patch_bytes"] = 0;
    j["patch_sha256"] = transfer::sha256_of("");
    j["tar_bytes"] = tar.size();
    j["tar_sha256"] = transfer::sha256_of(tar);
    j["squashed"] = false;
    j["head"] = "b45e";
    return said(j.dump() + "\n");
  }
};

} // namespace skep::test
