#include "sandbox/http_engine.hpp"

#include "sandbox/http_lane.hpp"
#include "sandbox/http_transfer.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

namespace skep::sandbox {
namespace {

constexpr std::uint64_t wake_tag = ~std::uint64_t{0};
constexpr std::size_t easy_pool_size = 64;
/// The loop that runs on this thread.
thread_local const void* current_loop = nullptr;

void init_curl_once() {
  static std::once_flag flag;
  std::call_once(flag, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

} // namespace

/// Everything the thread owns. Members below "engine thread" are touched by it alone.
class http_engine::loop {
public:
  explicit loop(engine_options options);
  ~loop();

  void command(std::function<void()> work);
  void add(std::unique_ptr<transfer> item);
  void cancel(request_id id) { finish(id, make_error(errc::cancelled)); }
  void resume(request_id id);
  void after(steady::time_point when, std::function<void()> work) {
    if (!stopping_) timers_.emplace(when, std::move(work));
  }
  bool on_thread() const { return current_loop == this; }

  std::atomic<request_id> next_id{1};
  std::atomic<std::uint64_t> in_flight_count{0}, queued_count{0}, peak{0}, connections{0},
      finished{0};

private:
  /// The handles of requests (one) or of streams (as many as there are streams for), and who waits
  /// for room in them.
  struct group {
    std::size_t limit = 0; ///< Over all its handles.
    std::size_t in_flight = 0;
    std::vector<std::uint32_t> lanes;
    std::deque<request_id> waiting;
  };

  void run();
  int wait_ms() const;
  void drain_commands();
  void fire_timers();
  void arm(transfer& item);
  void arm_started();
  void disarm(transfer& item);
  void start_waiting(group& x);
  std::uint32_t lane_with_room(group& x);
  void finish(request_id id, error failure);
  void wake();
  group& group_of(const transfer& item) { return groups_[static_cast<std::size_t>(item.in())]; }

  const engine_options options_;
  int epoll_ = -1;
  int wake_ = -1;

  std::mutex mutex_;
  std::vector<std::function<void()>> commands_; ///< Under mutex_.
  bool stop_asked_ = false;                     ///< Under mutex_.

  // -- engine thread --
  bool stopping_ = false;
  CURLSH* share_ = nullptr;
  std::array<group, 2> groups_; ///< By lane.
  std::vector<std::unique_ptr<http_lane>> lanes_;
  std::map<request_id, std::unique_ptr<transfer>> transfers_;
  std::set<std::pair<steady::time_point, request_id>> expiries_;
  std::multimap<steady::time_point, std::function<void()>> timers_;
  std::vector<request_id> started_; ///< Streams whose first byte just came.
  std::vector<CURL*> spare_easies_;

  std::thread thread_;
};

http_engine::loop::loop(engine_options options) : options_(std::move(options)) {
  init_curl_once();
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = wake_tag;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);

  share_ = curl_share_init(); // one thread: needs no lock functions
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  groups_[static_cast<std::size_t>(lane::request)].limit =
      std::min(options_.requests_in_flight, options_.in_flight_a_handle);
  groups_[static_cast<std::size_t>(lane::stream)].limit = options_.streams_in_flight;

  // Signals belong to other threads; SIGPIPE, which TLS sockets can raise, is blocked with them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread{[this] { run(); }};
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

http_engine::loop::~loop() {
  assert(!on_thread());
  {
    std::lock_guard lock{mutex_};
    stop_asked_ = true;
  }
  wake();
  thread_.join();
  lanes_.clear();
  for (auto* easy : spare_easies_)
    curl_easy_cleanup(easy);
  curl_share_cleanup(share_);
  ::close(wake_);
  ::close(epoll_);
}

void http_engine::loop::wake() {
  std::uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(wake_, &one, sizeof one); // full counter: it is awake anyway
}

void http_engine::loop::command(std::function<void()> work) {
  bool first;
  {
    std::lock_guard lock{mutex_};
    first = commands_.empty();
    commands_.push_back(std::move(work));
  }
  if (first) wake();
}

void http_engine::loop::run() {
  current_loop = this;
  std::array<epoll_event, 128> events;
  for (;;) {
    int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms());
    for (int i = 0; i < n; ++i) {
      auto tag = events[static_cast<std::size_t>(i)].data.u64;
      auto bits = events[static_cast<std::size_t>(i)].events;
      if (tag == wake_tag) {
        std::uint64_t count;
        [[maybe_unused]] auto got = ::read(wake_, &count, sizeof count);
        continue;
      }
      lanes_[http_lane::number_of(tag)]->socket_ready(http_lane::socket_of(tag), bits);
    }
    drain_commands();
    for (auto& x : lanes_) {
      x->run_timer(steady::now());
      x->reap([this](CURL* easy, CURLcode code) {
        char* owner = nullptr;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &owner);
        auto& item = *reinterpret_cast<transfer*>(owner);
        finish(item.id(), item.outcome(code));
      });
    }
    arm_started();
    fire_timers();
    for (auto& x : groups_)
      start_waiting(x);
    {
      std::lock_guard lock{mutex_};
      stopping_ = stop_asked_;
    }
    if (stopping_) break;
  }
  // Everybody hears of the end; a request that a callback submits meanwhile ends in add().
  for (bool more = true; more;) {
    while (!transfers_.empty())
      finish(transfers_.begin()->first, make_error(errc::cancelled, "the engine ends"));
    drain_commands();
    std::lock_guard lock{mutex_};
    more = !commands_.empty() || !transfers_.empty();
  }
}

int http_engine::loop::wait_ms() const {
  std::optional<steady::duration> next;
  auto consider = [&](steady::duration left) {
    if (!next || left < *next) next = left;
  };
  for (const auto& x : lanes_) // libcurl's own clock
    if (x->due()) consider(*x->due() - steady::now());
  const auto now = options_.now();
  if (!expiries_.empty()) consider(expiries_.begin()->first - now);
  if (!timers_.empty()) consider(timers_.begin()->first - now);
  if (!next) return -1;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(*next).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 3'600'000));
}

void http_engine::loop::drain_commands() {
  std::vector<std::function<void()>> batch;
  {
    std::lock_guard lock{mutex_};
    batch.swap(commands_);
  }
  for (auto& work : batch)
    work();
}

void http_engine::loop::fire_timers() {
  const auto now = options_.now();
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    auto& item = *transfers_.at(expiries_.begin()->second);
    disarm(item);
    auto at = item.expires();
    if (at && *at <= now)
      finish(item.id(), item.timeout_error());
    else
      arm(item); // data came since: later
  }
  while (!timers_.empty() && timers_.begin()->first <= now) {
    auto work = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    work();
  }
}

void http_engine::loop::arm(transfer& item) {
  auto at = item.expires();
  if (!at || (item.armed && *item.armed <= *at)) return; // an early entry corrects itself
  disarm(item);
  item.armed = at;
  expiries_.emplace(*at, item.id());
}

/// A stream's first byte ends one limit and starts another, which may be the earlier one.
void http_engine::loop::arm_started() {
  for (auto id : started_)
    if (auto i = transfers_.find(id); i != transfers_.end()) {
      i->second->answer_began();
      arm(*i->second);
    }
  started_.clear();
}

void http_engine::loop::disarm(transfer& item) {
  if (!item.armed) return;
  expiries_.erase({*item.armed, item.id()});
  item.armed.reset();
}

void http_engine::loop::add(std::unique_ptr<transfer> item) {
  auto id = item->id();
  auto& x = group_of(*item);
  auto& kept = *transfers_.emplace(id, std::move(item)).first->second;
  ++queued_count;
  if (stopping_) return finish(id, make_error(errc::cancelled, "the engine ends"));
  arm(kept);
  x.waiting.push_back(id);
}

/// The first handle with room.
std::uint32_t http_engine::loop::lane_with_room(group& x) {
  for (auto number : x.lanes)
    if (lanes_[number]->has_room()) return number;
  const auto number = static_cast<std::uint32_t>(lanes_.size());
  lanes_.push_back(std::make_unique<http_lane>(epoll_, number, options_.in_flight_a_handle));
  x.lanes.push_back(number);
  return number;
}

void http_engine::loop::start_waiting(group& x) {
  while (x.in_flight < x.limit && !x.waiting.empty()) {
    auto id = x.waiting.front();
    x.waiting.pop_front();
    auto i = transfers_.find(id);
    if (i == transfers_.end()) continue; // cancelled or expired in the queue
    auto& item = *i->second;
    CURL* easy = nullptr;
    if (spare_easies_.empty()) {
      easy = curl_easy_init();
    } else {
      easy = spare_easies_.back();
      spare_easies_.pop_back();
    }
    if (auto ready = item.prepare(easy, share_, options_, started_); !ready) {
      if (!item.easy()) spare_easies_.push_back(easy);
      finish(id, ready.err());
      continue;
    }
    --queued_count;
    ++in_flight_count;
    ++x.in_flight;
    item.lane_number = lane_with_room(x);
    auto& lane = *lanes_[item.lane_number];
    const auto rc = lane.add(easy);
    if (lane.in_flight() > peak) peak = lane.in_flight();
    if (rc != CURLM_OK)
      finish(id, make_error(errc::internal, "curl_multi_add_handle", curl_multi_strerror(rc)));
  }
}

void http_engine::loop::finish(request_id id, error failure) {
  auto i = transfers_.find(id);
  if (i == transfers_.end()) return;
  auto item = std::move(i->second);
  transfers_.erase(i);
  disarm(*item);
  ++finished;
  if (CURL* easy = item->easy()) {
    long opened = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &opened);
    connections += static_cast<std::uint64_t>(opened);
    lanes_[item->lane_number]->remove(easy);
    --group_of(*item).in_flight;
    --in_flight_count;
    if (spare_easies_.size() < easy_pool_size) {
      curl_easy_reset(easy);
      spare_easies_.push_back(easy);
    } else {
      curl_easy_cleanup(easy);
    }
  } else {
    --queued_count;
  }
  item->answer().failure = std::move(failure);
  item->handlers().on_done(std::move(item->answer()));
}

void http_engine::loop::resume(request_id id) {
  auto i = transfers_.find(id);
  if (i == transfers_.end()) return;
  auto& item = *i->second;
  const bool tell_curl = item.unpause(options_.now());
  arm(item);
  if (!tell_curl) return;
  // Delivers what libcurl kept, from inside this call.
  if (auto rc = curl_easy_pause(item.easy(), CURLPAUSE_CONT); rc != CURLE_OK)
    finish(id, item.outcome(rc));
}

std::size_t streams_at_most() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) files.rlim_cur = 1024;
  return streams_of(files.rlim_cur);
}

http_engine::http_engine(engine_options options)
    : on_call_(options.on_call), now_(options.now),
      loop_(std::make_unique<loop>(std::move(options))) {}

http_engine::~http_engine() = default;

request_id http_engine::submit(http_request request, http_handlers handlers) {
  assert(handlers.on_done);
  auto id = loop_->next_id++;
  auto item = std::make_shared<std::unique_ptr<transfer>>(
      std::make_unique<transfer>(id, std::move(request), std::move(handlers), now_));
  loop_->command([x = loop_.get(), item] { x->add(std::move(*item)); });
  return id;
}

void http_engine::cancel(request_id id) {
  loop_->command([x = loop_.get(), id] { x->cancel(id); });
}

void http_engine::resume(request_id id) {
  loop_->command([x = loop_.get(), id] { x->resume(id); });
}

void http_engine::post(std::function<void()> work) {
  loop_->command(std::move(work));
}

void http_engine::after(std::chrono::milliseconds delay, std::function<void()> work) {
  loop_->command([x = loop_.get(), when = now() + delay, work = std::move(work)]() mutable {
    x->after(when, std::move(work));
  });
}

bool http_engine::on_engine_thread() const {
  return loop_->on_thread();
}

engine_stats http_engine::stats() const {
  return {loop_->in_flight_count, loop_->queued_count, loop_->peak, loop_->connections,
          loop_->finished};
}

} // namespace skep::sandbox
