#include "host/sim/follower.hpp"

#include "messages/follow.hpp"

namespace skep::host::sim {
namespace {

constexpr std::size_t log_piece_bytes = 32 * 1024;
constexpr std::chrono::seconds pulse_after{30};

/// How far one attempt's log was sent.
struct progress {
  std::uint64_t offset = 0;
  bool done = false;
};

template <message T>
std::string frame(follow_kind kind, const T& x) {
  std::string out;
  pack_follow(out, kind, x);
  return out;
}

/// The next frame of this attempt, or nothing to send now.
std::string next_frame(const box& where, const pane& x, progress& at) {
  if (at.done) return {};
  bool ended = x.ended; // asked before the log is read
  auto log = where.files.find(x.dir + "/log");
  if (log && log->size() > at.offset) {
    follow_data data{x.id, x.generation, at.offset, {}};
    data.data.data = log->data->substr(at.offset, log_piece_bytes);
    at.offset += data.data.data.size();
    return frame(follow_kind::data, data);
  }
  if (!ended) return {};
  at.done = true;
  auto file = where.files.find(x.dir + "/exit.json");
  auto j = json::parse(file && file->data ? *file->data : std::string{"{}"}, nullptr, false);
  follow_exit out;
  if (!from_json_value(j, out)) return {};
  out.pane = x.id;
  out.generation = x.generation;
  return frame(follow_kind::exit, out);
}

} // namespace

void follow_request::add(std::string_view text) {
  auto first = text.find(':'), second = text.rfind(':');
  if (first == text.npos || first == second) return;
  auto pane = std::string{text.substr(0, first)};
  auto generation = static_cast<std::uint32_t>(
      std::strtoul(std::string{text.substr(first + 1, second - first - 1)}.c_str(), nullptr, 10));
  auto offset = std::strtoull(std::string{text.substr(second + 1)}.c_str(), nullptr, 10);
  auto& k = from[pane];
  if (generation >= k.generation) k = {generation, offset};
}

task<bool> follow(program_ptr p, follow_request wanted) {
  auto where = p->home;
  auto deadline = envd::clock::now() + wanted.limit;
  auto superseded = [&] {
    return frame(follow_kind::failure, follow_failure{"a newer follower took over"});
  };
  if (wanted.epoch < where->epoch) {
    co_await p->write(channel::out, superseded());
    co_return true;
  }
  where->epoch = wanted.epoch;
  auto me = ++where->followers;
  p->on_signal = [weak = std::weak_ptr{where}] {
    if (auto there = weak.lock()) there->changed.notify();
  };
  where->changed.notify();
  auto hello = frame(follow_kind::hello, follow_hello{where->world.version, wanted.epoch});
  co_await p->write(channel::out, std::move(hello));
  std::map<std::string, progress> sent;
  std::uint64_t pulses = 0;
  auto last = envd::clock::now();
  while (p->signalled() == 0 && envd::clock::now() < deadline) {
    if (where->followers != me) {
      co_await p->write(channel::out, superseded());
      co_return true;
    }
    std::string out;
    for (const auto& [dir, x] : where->panes) {
      auto i = sent.find(dir);
      if (i == sent.end()) {
        progress fresh;
        auto k = wanted.from.find(x->id.value);
        if (k != wanted.from.end() && x->generation < k->second.generation) fresh.done = true;
        if (k != wanted.from.end() && x->generation == k->second.generation)
          fresh.offset = k->second.offset;
        i = sent.emplace(dir, fresh).first;
      }
      out += next_frame(*where, *x, i->second);
    }
    if (out.empty() && envd::clock::now() >= last + pulse_after)
      out = frame(follow_kind::pulse, follow_pulse{++pulses});
    if (!out.empty()) {
      co_await p->write(channel::out, std::move(out));
      last = envd::clock::now();
      continue;
    }
    co_await where->changed.wait_until(std::min(deadline, last + pulse_after));
  }
  co_return false;
}

} // namespace skep::host::sim
