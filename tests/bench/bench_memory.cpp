// What one supervised sandbox costs the daemon in memory: all actors of 500 idle sandboxes with 4
// panes each, running under their supervisors, against the same process before they existed.
//
//   bench_memory [--tiny]    goal: (PSS with 500 - PSS with 0) / 500 <= 48 KiB, stretch 24; exit 1
//   when
//                            missed
//
// The provider is the in-memory one of the tests (its own records are subtracted by measuring a
// second set of boxes without actors), the journal numbers and forgets. Not counted: the HTTP
// engine's buffers of one stream a sandbox (12 KiB with libcurl's smallest buffer). Each repetition
// is a process of its own, so that freed memory of an earlier one does not hide a later one's.
#include "actors/journal.hpp"
#include "actors/sandbox.hpp"
#include "tests/sandbox/fake_api.hpp"
#include "tests/support/virtual_system.hpp"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace skep;
using namespace skep::actors;

constexpr double goal_kib = 48;
constexpr std::uint32_t panes_each = 4;

class forgetful_backend : public journal_backend {
public:
  result<void> begin() override { return {}; }
  result<std::uint64_t> append(chunk& c) override {
    c.first_seq = head_ + 1;
    head_ += c.count;
    return c.first_seq;
  }
  result<void> commit() override { return {}; }
  std::uint64_t head() const override { return head_; }
  std::string stream_id() const override { return "bench"; }
  bool broken() const override { return false; }

private:
  std::uint64_t head_ = 0;
};

double pss_kib() {
  ::malloc_trim(0);
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

// The inside of every sandbox: who we are, and skep-guest's answers.
result<sandbox::command_result> inside(const sandbox::remote&, const sandbox::command& c) {
  if (c.argv[0] == "/usr/bin/id") return says("1000\n");
  if (c.argv[0] == "/bin/chmod") return says("");
  if (c.argv.size() < 2) return says("");
  if (c.argv[1] == "--version") return says("skep-guest 0\n");
  if (c.argv[1] == "unpack") return says(R"({"files":1,"size_bytes":1,"manifest_sha256":"m"})");
  if (c.argv[1] == "base") return says(R"({"commit":"c","is_head":false})");
  if (c.argv[1] == "pane") return says(R"({"state":"started","pid":7})");
  return says("{}");
}

services_ptr make_services(const directory_ptr& handles) {
  auto svc = std::make_shared<services>();
  svc->handles = handles;
  svc->gateway_url = [](const std::string&) { return std::string{}; };
  svc->secret = [](const std::string&) { return std::string{}; };
  svc->known_secrets = [] { return std::vector<std::string>{}; };
  svc->wall_now = [] { return utc_time{std::chrono::milliseconds{1}}; };
  svc->load_sandbox = [](const sandbox_id&) {
    return result<sandbox_record>(make_error(errc::not_found));
  };
  svc->load_panes = [](const sandbox_id&) {
    return result<std::vector<pane_record>>(make_error(errc::not_found));
  };
  svc->state_dir = std::filesystem::temp_directory_path();
  svc->guest_sha256 = std::string(64, 'a');
  svc->install_id = "bench";
  svc->epoch = 1;
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

// KiB a sandbox, or a negative number when not all of them came to run.
double measure(std::uint32_t count) {
  test::virtual_system v;
  auto handles = std::make_shared<directory>([] { return utc_time{std::chrono::milliseconds{1}}; });
  handles->put_journal(v.root(
      spawn_journal_undetached(v.sys, handles, []() -> result<std::unique_ptr<journal_backend>> {
        return std::unique_ptr<journal_backend>(std::make_unique<forgetful_backend>());
      })));
  auto api = std::make_shared<sandbox::fake_api>();
  api->on_run = inside;
  auto svc = make_services(handles);
  auto spec = std::make_shared<swarm_spec>();
  spec->argv = {"true"};
  spec->sandboxes = count;
  spec->panes = panes_each;
  auto bundle_file =
      std::filesystem::temp_directory_path() / ("bench-memory-" + std::to_string(::getpid()));
  std::ofstream{bundle_file} << "x";
  auto guest = std::const_pointer_cast<services>(svc);
  guest->guest_binary = bundle_file;
  auto bundle = std::make_shared<upload_bundle>();
  bundle->archive = bundle_file;
  bundle->files = 1;
  bundle->size_bytes = 1;
  bundle->manifest_sha256 = "m";
  supervisor_options options;
  options.path = "bench";
  options.stop_together = true;
  auto top = v.root(spawn_supervisor(v.sys, options, {}));
  v.run();
  auto before = pss_kib();
  std::vector<context_ptr> contexts;
  auto swarm = swarm_id::make();
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
    caf::anon_send(top, add_child_a::value,
                   sandbox_child(context, std::move(start), [] { return swarm_actor{}; }));
    v.run();
  }
  v.advance(std::chrono::seconds{1});
  api->calls.clear();
  api->calls.shrink_to_fit();
  auto after = pss_kib();
  auto streams = api->streams.size();
  for (auto& c : contexts)
    c->clear();
  handles->clear();
  std::filesystem::remove(bundle_file);
  return streams == count ? (after - before) / count : -1;
}

// One measurement in a process of its own.
double measure_apart(std::uint32_t count) {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  auto child = ::fork();
  if (child == 0) {
    auto x = measure(count);
    auto n = ::write(ends[1], &x, sizeof x);
    ::_exit(n == sizeof x ? 0 : 1);
  }
  ::close(ends[1]);
  double out = -1;
  if (::read(ends[0], &out, sizeof out) != sizeof out) out = -1;
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return out;
}

} // namespace

int main(int argc, char** argv) {
  auto tiny = argc > 1 && std::strcmp(argv[1], "--tiny") == 0;
  auto count = tiny ? 20u : 500u;
  std::vector<double> all;
  for (int i = 0; i < (tiny ? 1 : 5); ++i)
    all.push_back(measure_apart(count));
  std::sort(all.begin(), all.end());
  auto median = all[all.size() / 2];
  std::printf("memory: %u sandboxes x %u panes: median %.1f KiB a sandbox (min %.1f, max %.1f), "
              "goal %.0f, stretch 24\n",
              count, panes_each, median, all.front(), all.back(), goal_kib);
  if (all.front() < 0) {
    std::printf("memory: not every sandbox came to run\n");
    return 1;
  }
  return tiny || median <= goal_kib ? 0 : 1;
}
