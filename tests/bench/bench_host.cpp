// How fast skep-host makes sandboxes, beside what somebody without Skep would run, and what an idle
// one costs.
//
//   bench_host [--tiny] [--rounds N]     exit 1 when the goal is missed
//
// skep: from a create request of sandbox/client, as the daemon sends it, to the first byte that the
// first command (`echo ready`) writes, with N sandboxes asked for at once. The bare loop: N times
// bubblewrap with the namespaces and mounts of a sandbox, in it a tmux server whose first window
// runs `echo ready` into a fifo, all started at once; from before the fork to the first byte in the
// fifo. What only Skep does (the holder, envd, the filter of system calls, the gateway, /etc) is
// not in the loop.
//
// A round measures 50 and 200 at once, each on both sides, the first side changing from round to
// round; the figure of a round is the median of its sandboxes, and the goal holds for the median of
// the rounds' ratios. Idle memory: proportional set size of the holder of a sandbox and of all that
// it started, with 50 of them (they share what is the same), after one command. Started by root,
// both sides run as the service user; without root, hardened processes do not show their memory.
#include "sandbox/client.hpp"
#include "tests/bench/bare_sandboxes.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

namespace {

using namespace skep;
using namespace skep::bench;
using namespace std::chrono_literals;

constexpr double goal_ratio = 1.5;
constexpr auto patience = 120s;

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

// ---- skep-host ---------------------------------------------------------------------------------

class running_host {
public:
  explicit running_host(const std::filesystem::path& state) {
    const auto own = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "skep-host";
    std::vector<std::string> words{own,
                                   "--listen",
                                   "127.0.0.1:0",
                                   "--state",
                                   state,
                                   "--insecure-loopback",
                                   "--max-sandboxes",
                                   "1000"};
    std::vector<char*> argv;
    for (auto& w : words)
      argv.push_back(w.data());
    argv.push_back(nullptr);
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) fail("pipe2");
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_adddup2(&files, out[1], 1);
    if (::posix_spawn(&pid_, argv[0], &files, nullptr, argv.data(), environ) != 0)
      fail("cannot start skep-host");
    ::posix_spawn_file_actions_destroy(&files);
    ::close(out[1]);
    std::string line;
    for (char c; ::read(out[0], &c, 1) == 1 && c != '\n';)
      line.push_back(c);
    ::close(out[0]);
    const auto from = line.find("http://");
    if (from == std::string::npos) fail("skep-host does not serve: " + line);
    url_ = line.substr(from, line.find('"', from) - from);
  }
  ~running_host() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  running_host(const running_host&) = delete;
  running_host& operator=(const running_host&) = delete;
  const std::string& url() const { return url_; }

private:
  pid_t pid_ = -1;
  std::string url_;
};

/// Sandboxes that are asked for at once, each with one command.
class crowd {
public:
  crowd(sandbox::client& client, std::size_t count) : client_(client), all_(count) {
    for (std::size_t i = 0; i < count; ++i)
      ask(i);
    std::unique_lock lock{mutex_};
    if (!changed_.wait_for(lock, patience, [&] { return over_ == all_.size() || failed_; }))
      fail("sandboxes do not answer");
    if (failed_) fail("a sandbox failed: " + why_);
  }
  ~crowd() {
    std::size_t gone = 0;
    for (auto& x : all_)
      client_.kill(x.where.remote_id, [&](const result<bool>&) {
        std::lock_guard guard{mutex_};
        ++gone;
        changed_.notify_all();
      });
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return gone == all_.size(); });
  }
  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;

  std::vector<double> first_byte_ms() const { return column(&one::first_byte); }
  std::vector<double> created_ms() const { return column(&one::made); }
  std::vector<std::string> ids() const {
    std::vector<std::string> out;
    for (const auto& x : all_)
      out.push_back(x.where.remote_id);
    return out;
  }

private:
  struct one {
    clock_type::time_point began;
    double made = 0, first_byte = 0;
    sandbox::remote where;
  };
  std::vector<double> column(double one::*which) const {
    std::vector<double> out;
    for (const auto& x : all_)
      out.push_back(x.*which);
    return out;
  }

  void ask(std::size_t i) {
    all_[i].began = clock_type::now();
    sandbox::create_params wanted;
    wanted.lease = 600s;
    client_.create(std::move(wanted), [this, i](result<sandbox::created> r) {
      if (!r) return broken(render(r.err()));
      all_[i].made = ms_since(all_[i].began);
      all_[i].where = r->address;
      sandbox::stream_handlers h;
      h.on_stdout = [this, i](std::string_view) {
        if (all_[i].first_byte == 0) all_[i].first_byte = ms_since(all_[i].began);
        return true;
      };
      h.on_end = [this, i](result<sandbox::command_result> e) {
        if (!e || e->exit_code != 0 || all_[i].first_byte == 0)
          return broken(e ? "the command failed" : render(e.err()));
        std::lock_guard guard{mutex_};
        ++over_;
        changed_.notify_all();
      };
      sandbox::command what;
      what.argv = {"/bin/echo", "ready"};
      client_.open_stream(all_[i].where, std::move(what), std::move(h));
    });
  }
  void broken(std::string why) {
    std::lock_guard guard{mutex_};
    failed_ = true;
    why_ = std::move(why);
    changed_.notify_all();
  }

  sandbox::client& client_;
  std::vector<one> all_; ///< Engine's thread until all are over.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t over_ = 0;
  bool failed_ = false;
  std::string why_;
};

// ---- memory ------------------------------------------------------------------------------------

/// Proportional set size by the name of the program, of the holders of these sandboxes and all
/// their children, for one sandbox. Empty: they do not show it.
std::map<std::string, double> idle_pss_kib(const std::vector<std::string>& ids) {
  std::map<pid_t, std::vector<pid_t>> children;
  std::vector<pid_t> open;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    std::ifstream stat{entry.path() / "stat"};
    std::string line;
    std::getline(stat, line);
    const auto after = line.rfind(')');
    if (after == std::string::npos) continue;
    char state = 0;
    pid_t parent = 0;
    std::istringstream{line.substr(after + 1)} >> state >> parent;
    children[parent].push_back(pid);
    std::ifstream words{entry.path() / "cmdline"};
    std::string verb, id;
    std::getline(words, verb, '\0');
    std::getline(words, verb, '\0');
    std::getline(words, id, '\0');
    if (verb == "hold" && std::find(ids.begin(), ids.end(), id) != ids.end()) open.push_back(pid);
  }
  if (open.size() != ids.size()) fail("not every holder was found");
  std::map<std::string, double> out;
  while (!open.empty()) {
    const auto pid = open.back();
    open.pop_back();
    const auto& more = children[pid];
    open.insert(open.end(), more.begin(), more.end());
    const auto dir = "/proc/" + std::to_string(pid);
    std::ifstream named{dir + "/comm"}, in{dir + "/smaps_rollup"};
    std::string name, word;
    std::getline(named, name);
    double kib = -1;
    while (in >> word)
      if (word == "Pss:") in >> kib;
    if (kib < 0) return {};
    out[name] += kib / static_cast<double>(ids.size());
  }
  return out;
}

// ---- the run -----------------------------------------------------------------------------------

struct load {
  std::vector<std::size_t> at_once{50, 200};
  int rounds = 5;
};

bool judge(std::size_t count, std::vector<double> own, std::vector<double> bare,
           std::vector<double> ratios) {
  std::sort(ratios.begin(), ratios.end());
  const auto middle = ratios[ratios.size() / 2];
  const bool good = middle <= goal_ratio;
  std::printf("%3zu at once: p50 skep %.0f ms, bare loop %.0f ms, ratio %.2f (%.2f to %.2f)  goal "
              "%.2f  %s\n",
              count, median(std::move(own)), median(std::move(bare)), middle, ratios.front(),
              ratios.back(), goal_ratio, good ? "met" : "MISSED");
  return good;
}

void memory(sandbox::client& client, std::size_t count) {
  crowd idle{client, count};
  const auto parts = idle_pss_kib(idle.ids());
  if (parts.empty()) {
    std::printf("idle memory: not shown to this user (root sees it)\n");
    return;
  }
  double sum = 0;
  std::string text;
  for (const auto& [name, kib] : parts) {
    sum += kib;
    std::array<char, 64> piece{};
    std::snprintf(piece.data(), piece.size(), "%s%s %.0f", text.empty() ? "" : ", ", name.c_str(),
                  kib);
    text += piece.data();
  }
  std::printf("idle memory of a sandbox, %zu of them: PSS %.0f KiB (%s)\n", count, sum,
              text.c_str());
}

} // namespace

int main(int argc, char** argv) {
  load l;
  bool tiny = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--tiny")
      tiny = true;
    else if (word == "--rounds" && i + 1 < argc)
      l.rounds = std::max(1, std::atoi(argv[++i]));
    else
      fail("usage: bench_host [--tiny] [--rounds N]");
  }
  if (tiny) l = {{3}, 1};
  account user;
  if (::geteuid() == 0) {
    auto found = host::find_service_user(host::default_service_user);
    if (!found) fail(render(found.err()));
    user = {true, *found};
  }
  if (auto r = host::check_isolation(); !r) fail(render(r.err()));
  folder state;
  user.own(state.path);
  running_host server{state.path / "state"};
  auto engine = std::make_shared<sandbox::http_engine>();
  sandbox::endpoint where;
  where.name = "bench";
  where.api_url = where.sandbox_url = server.url();
  where.api_key = "e2b_" + std::string(40, '0');
  sandbox::client client{engine, where};
  bool good = true;
  crowd{client, 2}; // programs and libraries are in memory
  bare_loop(2, user);
  std::map<std::size_t, std::array<std::vector<double>, 3>> figures;
  for (int round = 0; round < l.rounds; ++round)
    for (const auto count : l.at_once) {
      double own = 0, made = 0, bare = 0;
      for (int side = 0; side < 2; ++side) {
        if ((side + round) % 2 == 0) {
          crowd c{client, count};
          own = median(c.first_byte_ms());
          made = median(c.created_ms());
        } else {
          bare = median(bare_loop(count, user));
        }
      }
      std::printf("  round %d, %3zu at once: skep %.0f ms (made after %.0f), bare loop %.0f ms, "
                  "ratio %.2f\n",
                  round + 1, count, own, made, bare, own / bare);
      std::fflush(stdout);
      auto& f = figures[count];
      f[0].push_back(own);
      f[1].push_back(bare);
      f[2].push_back(own / bare);
    }
  for (auto& [count, f] : figures)
    good = judge(count, f[0], f[1], f[2]) && good;
  memory(client, tiny ? 3 : 50);
  return tiny || good ? 0 : 1;
}
