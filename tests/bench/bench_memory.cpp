// What a supervised sandbox costs the daemon in memory.
//
//   bench_memory [--tiny]    (PSS with 500 idle sandboxes of 4 panes - PSS with 0) / 500
//                            goal <= 48 KiB, stretch 24; exit 1 when missed
//   bench_memory --one N     one measurement with N sandboxes: prints PSS and heap in use, in KiB
//
// Every measurement is a process of its own, started anew. In it run the real actors under their
// real supervisors, on a virtual clock: every sandbox has come to `running` and every pane runs,
// has written 8 KiB, and is silent; two minutes later, when no deadline of a finished request is
// waiting any more, PSS is read as it is. The output streams are real (memory_provider.hpp). The
// journal numbers events, counts those that say that a sandbox runs, and forgets.
#include "actors/isolation_check.hpp"
#include "actors/journal.hpp"
#include "actors/sandbox.hpp"
#include "tests/bench/memory_provider.hpp"
#include "tests/support/virtual_system.hpp"

#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <malloc.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace skep;
using namespace skep::actors;

constexpr double goal_kib = 48;
constexpr std::uint32_t panes_each = 4;
constexpr auto patience = std::chrono::seconds{60};

class forgetful_backend : public journal_backend {
public:
  result<void> begin() override { return {}; }
  result<std::uint64_t> append(chunk& c) override {
    c.first_seq = head_ + 1;
    head_ += c.count;
    for (event_reader events{c.body.data}; !events.done();) {
      auto raw = events.next();
      if (!raw) break;
      auto e = interpret(*raw);
      if (!e) continue;
      if (auto* changed = std::get_if<phase_changed>(&*e))
        sandboxes_running_ += changed->to == phase::running;
      panes_running_ += std::holds_alternative<pane_started>(*e);
    }
    return c.first_seq;
  }
  result<void> commit() override { return {}; }
  std::uint64_t head() const override { return head_; }
  std::string stream_id() const override { return "bench"; }
  bool broken() const override { return false; }

  static inline std::uint32_t sandboxes_running_ = 0;
  static inline std::uint32_t panes_running_ = 0;

private:
  std::uint64_t head_ = 0;
};

double pss_kib() {
  std::ifstream in("/proc/self/smaps_rollup");
  std::string word;
  while (in >> word)
    if (word == "Pss:") {
      double kib = 0;
      in >> kib;
      return kib;
    }
  return 0;
}

sandbox::command_result says(std::string line) {
  return {0, true, "exit status 0", std::move(line), {}, false, false};
}

// The inside of every sandbox: who and where we are, and skep-guest's answers.
result<sandbox::command_result> inside(const sandbox::create_params& made,
                                       const sandbox::command& c) {
  if (c.argv[0] == "/bin/sh")
    return says("1000\n" + made.env.at(std::string{mark_variable}) + "\nboot\nmnt:[1]\npid:[1]\n");
  if (c.argv[0] == "/bin/chmod") return says("");
  if (c.argv.size() < 2) return says("");
  if (c.argv[1] == "--version") return says("skep-guest 0\n");
  if (c.argv[1] == "reach") {
    auto list = json::array();
    for (std::size_t i = 2; i + 1 < c.argv.size(); i += 2)
      list.push_back({{"target", c.argv[i + 1]}, {"state", "unreachable"}});
    return says(json{{"targets", std::move(list)}}.dump());
  }
  if (c.argv[1] == "unpack") return says(R"({"files":1,"size_bytes":1,"manifest_sha256":"m"})");
  if (c.argv[1] == "base") return says(R"({"commit":"c0ffee","is_head":false})");
  if (c.argv[1] == "pane") return says(R"({"state":"started","pid":7})");
  return says("{}");
}

services_ptr make_services(const directory_ptr& handles, const std::filesystem::path& folder) {
  auto svc = std::make_shared<services>();
  svc->handles = handles;
  svc->gateway_url = [](const std::string&) { return std::string{}; };
  svc->secret = [](const std::string&) { return std::string{}; };
  svc->known_secrets = [] { return std::vector<std::string>{}; };
  svc->wall_now = [] { return utc_time{std::chrono::milliseconds{1}}; };
  svc->pool = std::make_shared<work_pool>(1); // removes the folders of transfers
  svc->load_sandbox = [](const sandbox_id&) {
    return result<sandbox_record>(make_error(errc::not_found));
  };
  svc->load_panes = [](const sandbox_id&) {
    return result<std::vector<pane_record>>(make_error(errc::not_found));
  };
  svc->state_dir = folder;
  svc->guest_binary = folder / "file";
  std::ofstream{svc->guest_binary} << "x";
  svc->guest_sha256 = std::string(64, 'a');
  svc->install_id = "bench";
  svc->epoch = 1;
  svc->limits.follow_silence = std::chrono::hours{1}; // followers here give one pulse and no more
  return svc;
}

sandbox_start start_of(std::uint32_t index, const swarm_id& swarm,
                       const std::shared_ptr<const upload_bundle>& bundle) {
  sandbox_start out;
  out.record.sandbox = sandbox_id::make();
  out.record.swarm = swarm;
  out.record.index = index;
  out.bundle = bundle;
  for (std::uint32_t k = 0; k < panes_each; ++k) {
    pane_record p;
    p.pane = pane_id::make();
    p.sandbox = out.record.sandbox;
    p.swarm = swarm;
    p.index = index * panes_each + k;
    p.name = "p" + std::to_string(p.index);
    p.branch = "skep/" + p.name;
    out.panes.push_back(std::move(p));
  }
  return out;
}

struct reading {
  double pss_kib = -1;
  double heap_kib = -1; ///< What malloc has given out.
};

// Negative when not every sandbox came to run and was heard.
reading measure(std::uint32_t count, const std::string& url) {
  test::virtual_system v;
  auto handles = std::make_shared<directory>([] { return utc_time{std::chrono::milliseconds{1}}; });
  handles->put_journal(v.root(
      spawn_journal_undetached(v.sys, handles, []() -> result<std::unique_ptr<journal_backend>> {
        return std::unique_ptr<journal_backend>(std::make_unique<forgetful_backend>());
      })));
  auto api = std::make_shared<bench::provider>(url);
  api->on_run = [boxes = &api->boxes](const sandbox::remote& where, const sandbox::command& c) {
    return inside(boxes->at(where.remote_id).params, c);
  };
  auto folder = std::filesystem::temp_directory_path() / "skep-bench-memory-XXXXXX";
  auto name = folder.string();
  if (!::mkdtemp(name.data())) return {};
  folder = name;
  const auto svc = make_services(handles, folder);
  auto spec = std::make_shared<swarm_spec>();
  spec->argv = {"true"};
  spec->sandboxes = std::max(count, 1u);
  spec->panes = panes_each;
  auto bundle = std::make_shared<upload_bundle>();
  bundle->archive = svc->guest_binary;
  bundle->files = 1;
  bundle->size_bytes = 1;
  bundle->manifest_sha256 = "m";
  supervisor_options options;
  options.path = "bench";
  options.stop_together = true;
  auto top = v.root(spawn_supervisor(v.sys, options, {}));
  v.run();
  std::vector<context_ptr> contexts;
  auto swarm = swarm_id::make();
  std::size_t expected = 0, heard = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto context = std::make_shared<sandbox_context>();
    context->svc = svc;
    context->spec = spec;
    context->api = api;
    context->swarm = swarm;
    context->index = i;
    auto start = start_of(i, swarm, bundle);
    context->sandbox = start.record.sandbox;
    contexts.push_back(context);
    std::string panes;
    for (const auto& p : start.panes)
      panes += (panes.empty() ? "" : ",") + p.pane.value;
    for (const auto& f : bench::follower_frames(panes))
      expected += f.size();
    api->next_panes(panes);
    caf::anon_send(top, add_child_a::value,
                   sandbox_child(context, std::move(start), [] { return swarm_actor{}; }));
    v.advance(std::chrono::milliseconds{50});
    // One after the other: starts of agents are admitted a few at a time.
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (heard < expected && std::chrono::steady_clock::now() < deadline)
      heard = api->deliver(std::chrono::milliseconds{100}, [&v] { v.run(); });
    if (heard < expected) break; // the others would be waited for in vain, too
    api->forget_calls();
  }
  v.advance(std::chrono::minutes{2});
  api->forget();
  reading out;
  if (heard == expected && forgetful_backend::sandboxes_running_ == count
      && forgetful_backend::panes_running_ == count * panes_each)
    out = {pss_kib(), static_cast<double>(::mallinfo2().uordblks) / 1024};
  for (auto& c : contexts)
    c->clear();
  handles->clear();
  std::filesystem::remove_all(folder);
  return out;
}

// ---- one process a measurement, and one for the other side of the streams --------------------

struct child {
  pid_t pid = -1;
  int in = -1; ///< Its standard input; closing it ends the server.
  std::string first_line;
};

child start_self(const std::vector<std::string>& args) {
  int to[2], from[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, to[0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, from[1], 1);
  std::vector<char*> argv = {const_cast<char*>("bench_memory")};
  for (const auto& a : args)
    argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  child out;
  if (::posix_spawn(&out.pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ) != 0)
    out.pid = -1;
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(to[0]);
  ::close(from[1]);
  out.in = to[1];
  for (char c; ::read(from[0], &c, 1) == 1 && c != '\n';)
    out.first_line.push_back(c);
  ::close(from[0]);
  return out;
}

void end(child& c) {
  ::close(c.in);
  if (c.pid > 0) ::waitpid(c.pid, nullptr, 0);
}

// What `bench_memory --one COUNT` says.
reading measure_apart(std::uint32_t count) {
  auto process = start_self({"--one", std::to_string(count)});
  end(process);
  reading out;
  std::istringstream{process.first_line} >> out.pss_kib >> out.heap_kib;
  return out;
}

int measure_here(std::uint32_t count) {
  auto server = start_self({"--serve"});
  auto r = measure(count, server.first_line);
  end(server);
  std::printf("%.1f %.1f\n", r.pss_kib, r.heap_kib);
  return r.pss_kib < 0 ? 1 : 0;
}

} // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "--serve") return bench::serve_followers();
  if (mode == "--one" && argc > 2)
    return measure_here(static_cast<std::uint32_t>(std::stoul(argv[2])));
  const bool tiny = mode == "--tiny";
  const auto count = tiny ? 20u : 500u;
  std::vector<double> all, heap;
  for (int i = 0; i < (tiny ? 1 : 5); ++i) {
    auto without = measure_apart(0);
    auto with = measure_apart(count);
    if (without.pss_kib < 0 || with.pss_kib < 0) {
      std::printf("memory: not every sandbox came to run\n");
      return 1;
    }
    all.push_back((with.pss_kib - without.pss_kib) / count);
    heap.push_back((with.heap_kib - without.heap_kib) / count);
  }
  std::sort(all.begin(), all.end());
  std::sort(heap.begin(), heap.end());
  const auto median = all[all.size() / 2];
  std::printf(
      "memory: %u sandboxes x %u panes: median %.1f KiB a sandbox (min %.1f, max %.1f; of it "
      "%.1f in use by malloc), goal %.0f, stretch 24\n",
      count, panes_each, median, all.front(), all.back(), heap[heap.size() / 2], goal_kib);
  return tiny || median <= goal_kib ? 0 : 1;
}
