// The HTTP engine beside undici's fetch, which the official SDK stands on, and what open streams
// cost.
//
//   bench_http [--tiny]     exit 1 when a goal is missed
//
// Requests: CPU time of the client's whole process for one request, with 100 and with 1,000 in
// flight; both clients talk to the same server, one after the other, each first every other time;
// the goal holds for the median of the ratios. Streams: memory, idle CPU time (with a keepalive
// each 50 s) and CPU time of a chunk of 100 bytes. --tiny runs all of it briefly, asserting
// nothing.
#include "tests/bench/bench_server.hpp"

#include "sandbox/http_engine.hpp"

#include <malloc.h>
#include <poll.h>
#include <spawn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <mutex>

namespace {

using namespace skep;
using namespace skep::sandbox;
using namespace std::chrono_literals;

struct load {
  std::size_t requests = 20'000;
  int rounds = 5;
  std::size_t streams = 5'000;
  std::size_t bursts = 20;
  std::chrono::milliseconds idle = 10s;
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_http: %s\n", what.c_str());
  std::exit(2);
}

double cpu_us() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

/// Proportional set size of this process.
double pss_kib() {
  ::malloc_trim(0);
  std::ifstream in{"/proc/self/smaps_rollup"};
  for (std::string word; in >> word;)
    if (word == "Pss:") {
      double out = 0;
      in >> out;
      return out;
    }
  return 0;
}

/// Counts up to a number that somebody waits for.
class counter {
public:
  void add() {
    if (++count_ < wanted_) return;
    std::lock_guard lock{mutex_};
    changed_.notify_all();
  }
  void wait_for(std::size_t wanted, const char* what) {
    std::unique_lock lock{mutex_};
    wanted_ = wanted;
    if (!changed_.wait_for(lock, 120s, [&] { return count_ >= wanted; })) fail(what);
  }

private:
  std::atomic<std::size_t> count_{0}, wanted_{~std::size_t{0}};
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// Keeps `in_flight` requests under way until `total` are done.
class flood {
public:
  flood(http_engine& engine, std::string url, std::size_t total)
      : engine_(engine), url_(std::move(url)), left_(total), total_(total) {}

  void run(std::size_t in_flight) {
    engine_.post([&] {
      for (std::size_t i = 0; i < in_flight && left_ > 0; ++i)
        next();
    });
    done_.wait_for(total_, "requests do not end");
    if (failed_) fail("requests failed");
  }

private:
  void next() {
    --left_;
    http_handlers h;
    h.on_done = [this](http_answer a) {
      failed_ += a.status != 200 || a.body.size() != 100;
      if (left_ > 0) next();
      done_.add();
    };
    engine_.submit({"GET", url_, http_limits::within(60s)}, std::move(h));
  }

  http_engine& engine_;
  const std::string url_;
  std::size_t left_; ///< Engine's thread.
  const std::size_t total_;
  std::atomic<int> failed_{0};
  counter done_;
};

double own_cpu_us(const std::string& url, std::size_t total, std::size_t in_flight) {
  http_engine engine;
  flood{engine, url, total / 4}.run(in_flight); // warm, as the other side
  const auto before = cpu_us();
  flood{engine, url, total}.run(in_flight);
  return (cpu_us() - before) / static_cast<double>(total);
}

double node_cpu_us(const std::string& url, std::size_t total, std::size_t in_flight) {
  const char* root = std::getenv("SKEP_SOURCE");
  const std::string script = std::string{root ? root : "."} + "/tests/bench/http_baseline.mjs";
  std::vector<std::string> words{"node", script, url, std::to_string(total),
                                 std::to_string(in_flight)};
  std::vector<char*> argv;
  for (auto& w : words)
    argv.push_back(w.data());
  argv.push_back(nullptr);
  int out[2];
  if (::pipe2(out, O_CLOEXEC) != 0) fail("pipe2");
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, out[1], 1);
  pid_t pid = -1;
  const auto failed = ::posix_spawnp(&pid, "node", &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  ::close(out[1]);
  if (failed != 0) fail("node is not installed");
  std::string text;
  std::array<char, 256> piece;
  for (ssize_t n; (n = ::read(out[0], piece.data(), piece.size())) > 0;)
    text.append(piece.data(), static_cast<std::size_t>(n));
  ::close(out[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) fail("the baseline failed: " + text);
  return std::strtod(text.c_str(), nullptr);
}

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

bool judge(const char* what, double figure, double goal) {
  const bool good = figure <= goal;
  std::printf("%-62s %9.3f  goal %.3f  %s\n", what, figure, goal, good ? "met" : "MISSED");
  return good;
}

bool requests(const load& l, const std::string& url, std::size_t in_flight, double goal) {
  std::vector<double> ratios;
  for (int i = 0; i < l.rounds; ++i) {
    double own = 0, node = 0;
    if (i % 2 == 0) own = own_cpu_us(url, l.requests, in_flight);
    node = node_cpu_us(url, l.requests, in_flight);
    if (i % 2 != 0) own = own_cpu_us(url, l.requests, in_flight);
    ratios.push_back(own / node);
    std::printf("  %4zu in flight: engine %6.1f us, undici fetch %6.1f us a request, ratio %.3f\n",
                in_flight, own, node, ratios.back());
    std::fflush(stdout);
  }
  auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  std::printf("  spread %.3f to %.3f\n", *low, *high);
  return judge(
      ("CPU of a request, engine / undici, " + std::to_string(in_flight) + " in flight").c_str(),
      median(ratios), goal);
}

bool streams(const load& l, const skep::bench::http_server& server) {
  const auto count = static_cast<double>(l.streams);
  counter opened;
  std::atomic<bool> all_open{false};
  counter chunks;
  http_engine engine;
  flood{engine, server.url() + "/r", 100}.run(10); // what the engine itself needs is there
  const auto memory = pss_kib();
  for (std::size_t i = 0; i < l.streams; ++i) {
    http_request r{"GET", server.url() + "/s", http_limits::streaming(60s, 300s)};
    r.in = lane::stream;
    http_handlers h;
    h.on_data = [&](std::string_view bytes) {
      if (!all_open) {
        opened.add();
      } else if (bytes.size() == 100) {
        chunks.add();
      }
      return flow::go_on;
    };
    h.on_done = [&](http_answer a) {
      if (a.failure.code != errc::cancelled) fail("a stream ended: " + render(a.failure));
    };
    engine.submit(std::move(r), std::move(h));
  }
  opened.wait_for(l.streams, "streams do not open");
  const auto each_kib = (pss_kib() - memory) / count;
  all_open = true;

  auto before = cpu_us();
  for (std::size_t i = 1; i <= l.bursts; ++i) {
    server.steer('C');
    chunks.wait_for(i * l.streams, "chunks do not come");
  }
  const auto chunk_us = (cpu_us() - before) / (count * static_cast<double>(l.bursts));

  server.steer('K');
  before = cpu_us();
  const auto begin = std::chrono::steady_clock::now();
  ::poll(nullptr, 0, static_cast<int>(l.idle.count())); // sleep: idleness is what is measured
  const std::chrono::duration<double, std::micro> wall = std::chrono::steady_clock::now() - begin;
  const auto idle = (cpu_us() - before) / wall.count() * 100;
  server.steer('k');
  std::printf("  %zu streams\n", l.streams);
  const bool memory_good = judge("memory of an idle stream, KiB", each_kib, 14);
  const bool idle_good = judge("all streams idle, per cent of a core", idle, 0.3);
  return judge("CPU of a chunk of 100 bytes, us", chunk_us, 10) && memory_good && idle_good;
}

} // namespace

int main(int argc, char* argv[]) {
  const bool tiny = argc > 1 && std::strcmp(argv[1], "--tiny") == 0;
  load l;
  if (tiny) l = {400, 1, 100, 2, 200ms};
  const auto files = skep::bench::raise_open_files();
  if (files < l.streams + 200) {
    l.streams = files - 200;
    std::printf("only %zu streams: the limit of open files is %zu\n", l.streams,
                static_cast<std::size_t>(files));
  }
  const skep::bench::http_server server;
  bool good = requests(l, server.url() + "/r", 100, 1.0 / 6);
  good = requests(l, server.url() + "/r", 1000, 1.0 / 4) && good;
  good = streams(l, server) && good;
  return good || tiny ? 0 : 1;
}
