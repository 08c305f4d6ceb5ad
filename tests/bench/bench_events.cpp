// Events from an actor's mailbox to a subscriber: our PUBLISHER beside a bare libzmq loop that
// sends the same frames. Both run in turn, so that the noise of the machine hits both; the same
// window of frames under way bounds both, so that nothing is dropped.
//
//   bench_events [--tiny]
//
// Goal: at 32 events a chunk the PUBLISHER reaches 0.75 of bare libzmq.
#include "broker/endpoints.hpp"
#include "broker/frames.hpp"
#include "broker/publisher.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <stdlib.h>
#include <thread>
#include <time.h>
#include <zmq.hpp>

namespace {

using namespace skep;
using steady = std::chrono::steady_clock;

constexpr std::uint64_t window_frames = 256; ///< Under way at a time; nothing else bounds either.
constexpr double goal = 0.75;

struct figures {
  double per_second = 0;
  double cpu_us_per_event = 0;
};

double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// A chunk of `events` notices of about 256 bytes.
chunk sample(std::uint32_t events) {
  chunk c{{"sw_bench"}, {"sb_bench"}, events, {}, 1, 0, 0};
  for (std::uint32_t i = 0; i < events; ++i)
    pack_event(c.body.data, utc_time{std::chrono::milliseconds{1'700'000'000'000}},
               notice{severity::info, "bench", std::string(220, 'x')});
  return c;
}

/// Counts frames on a thread of its own until it has `frames`.
class subscriber {
public:
  subscriber(const std::string& path, std::uint64_t frames)
      : socket_(context_, zmq::socket_type::sub) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.set(zmq::sockopt::subscribe, "");
    socket_.connect("ipc://" + path);
    thread_ = std::thread{[this, frames] {
      zmq::message_t part;
      while (received_.load(std::memory_order_relaxed) < frames) {
        if (!socket_.recv(part)) continue;
        if (part.to_string_view().starts_with("e/"))
          received_.fetch_add(1, std::memory_order_relaxed);
        else
          joined_.store(true);
      }
    }};
  }
  ~subscriber() { thread_.join(); }
  std::uint64_t received() const { return received_.load(std::memory_order_relaxed); }
  bool joined() const { return joined_.load(); }

private:
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  std::atomic<std::uint64_t> received_{0};
  std::atomic<bool> joined_{false};
  std::thread thread_;
};

/// Calls send(i) for every frame, with at most window_frames under way; waits for the last.
figures measure(subscriber& s, std::uint64_t frames, std::uint32_t events,
                const std::function<void(std::uint64_t)>& send) {
  auto cpu = cpu_seconds();
  auto begin = steady::now();
  for (std::uint64_t i = 0; i < frames; ++i) {
    while (i - s.received() >= window_frames)
      std::this_thread::yield();
    send(i);
  }
  while (s.received() < frames)
    std::this_thread::yield();
  auto seconds = std::chrono::duration<double>(steady::now() - begin).count();
  auto all = static_cast<double>(frames) * events;
  return {all / seconds, (cpu_seconds() - cpu) * 1e6 / all};
}

figures bare(const std::string& path, std::uint64_t frames, std::uint32_t events) {
  zmq::context_t context{1};
  zmq::socket_t socket{context, zmq::socket_type::xpub};
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.bind("ipc://" + path);
  subscriber s{path, frames};
  zmq::message_t subscription;
  (void)socket.recv(subscription);
  auto c = sample(events);
  std::string prefix;
  broker::put_event_prefix(prefix, "st_bench", c);
  return measure(s, frames, events, [&](std::uint64_t) {
    zmq::message_t part{prefix.size() + c.body.data.size()};
    std::memcpy(part.data(), prefix.data(), prefix.size());
    std::memcpy(part.data<char>() + prefix.size(), c.body.data.data(), c.body.data.size());
    (void)socket.send(part, zmq::send_flags::dontwait);
  });
}

figures ours(const std::string& path, std::uint64_t frames, std::uint32_t events) {
  caf::actor_system_config config;
  config.set("scheduler.policy", caf::atom("sharing"));
  caf::actor_system system{config};
  broker::publisher_config p;
  p.path = path;
  p.stream_id = "st_bench";
  p.send_high_water = 0;
  auto publisher = broker::start_publisher(system, p);
  while (!broker::somebody_listens(path))
    std::this_thread::yield();
  figures out;
  {
    subscriber s{path, frames};
    while (!s.joined())
      std::this_thread::yield();
    auto c = sample(events);
    out = measure(s, frames, events, [&](std::uint64_t i) {
      auto copy = std::make_shared<chunk>(c);
      copy->first_seq = 1 + i * events;
      caf::anon_send(publisher, actors::publish_a::value, std::move(copy));
    });
  }
  caf::anon_send_exit(publisher, caf::exit_reason::user_shutdown);
  publisher = nullptr;
  return out;
}

struct series {
  std::vector<figures> all;
  double median() const {
    auto v = values();
    return v[v.size() / 2];
  }
  /// (largest - smallest) / median.
  double spread() const {
    auto v = values();
    return (v.back() - v.front()) / median();
  }
  double cpu() const {
    std::vector<double> v;
    for (const auto& f : all)
      v.push_back(f.cpu_us_per_event);
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  }

private:
  std::vector<double> values() const {
    std::vector<double> v;
    for (const auto& f : all)
      v.push_back(f.per_second);
    std::sort(v.begin(), v.end());
    return v;
  }
};

} // namespace

int main(int argc, char** argv) {
  bool tiny = argc > 1 && std::string_view{argv[1]} == "--tiny";
  char dir[] = "/tmp/skep-bench-XXXXXX";
  if (::mkdtemp(dir) == nullptr) return 74;
  auto path = std::string{dir} + "/run/events.sock";
  std::filesystem::create_directories(std::filesystem::path{path}.parent_path());
  int repetitions = tiny ? 1 : 5;
  std::printf("%6s  %22s  %22s  %6s  %s\n", "events", "libzmq ev/s (spread)", "skep ev/s (spread)",
              "ratio", "cpu us/event libzmq, skep");
  bool met = true;
  for (std::uint32_t events : {1u, 8u, 32u}) {
    std::uint64_t frames = tiny ? 500 : events == 1 ? 50'000 : events == 8 ? 40'000 : 20'000;
    series raw, mine;
    for (int i = 0; i < repetitions; ++i) {
      raw.all.push_back(bare(path, frames, events));
      mine.all.push_back(ours(path, frames, events));
    }
    auto ratio = mine.median() / raw.median();
    std::printf("%6u  %14.0f (%4.0f%%)  %14.0f (%4.0f%%)  %6.2f  %.2f, %.2f\n", events,
                raw.median(), raw.spread() * 100, mine.median(), mine.spread() * 100, ratio,
                raw.cpu(), mine.cpu());
    if (events == 32) {
      met = ratio >= goal;
      std::printf("goal at 32 events a chunk: %.2f of libzmq, reached %.2f\n", goal, ratio);
    }
  }
  std::filesystem::remove_all(dir);
  return met || tiny ? 0 : 1;
}
