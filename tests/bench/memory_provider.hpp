// The provider of bench_memory: creates, commands and files are answered in memory (fake_api), but
// the output stream of every sandbox is a real one, over the real HTTP engine, to a server in
// another process, so that what an idle stream costs is in the figure and what the other side costs
// is not.
#pragma once

#include "messages/follow.hpp"
#include "messages/json.hpp"
#include "sandbox/client.hpp"
#include "sandbox/envelope.hpp"
#include "tests/sandbox/fake_api.hpp"
#include "tests/sandbox/script_server.hpp"

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <sstream>

namespace skep::bench {

/// Bytes that every pane has written before it is idle.
inline constexpr std::size_t output_bytes = 8 * 1024;
/// Names, in the environment of the follower, the panes that the server writes for.
inline constexpr const char* panes_variable = "SKEP_BENCH_PANES";

/// What a follower sends for these panes: a hello, their output in frames of 1 KiB, a pulse.
inline std::vector<std::string> follower_frames(const std::string& panes) {
  std::vector<std::string> out;
  auto frame = [&](follow_kind kind, const auto& x) { pack_follow(out.emplace_back(), kind, x); };
  frame(follow_kind::hello, follow_hello{"bench", 1});
  std::istringstream names{panes};
  for (std::string name; std::getline(names, name, ',');)
    for (std::size_t at = 0; at < output_bytes; at += 1024)
      frame(follow_kind::data, follow_data{pane_id{name}, 1, at, {std::string(1024, 'x')}});
  frame(follow_kind::pulse, follow_pulse{1});
  return out;
}

/// Serves followers until standard input ends; its URL is the first line of standard output.
inline int serve_followers() {
  sandbox::script_server server{[](sandbox::script_server::peer& p,
                                   const sandbox::script_server::request& r) {
    sandbox::envelope_reader reader;
    reader.feed(r.body);
    auto start = reader.next();
    if (!start) return p.close();
    auto body = json::parse(start->payload, nullptr, false);
    if (body.is_discarded()) return p.close();
    p.begin_chunks(200, {"Content-Type: application/connect+json"});
    p.chunk(sandbox::make_envelope(R"({"event":{"start":{"pid":1}}})"));
    for (const auto& f :
         follower_frames(body["process"]["envs"].value(panes_variable, std::string{})))
      p.chunk(
          sandbox::make_envelope(R"({"event":{"data":{"stdout":")" + base64_encode(f) + R"("}}})"));
    p.wait_closed();
  }};
  std::printf("%s\n", server.url().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

/// fake_api with real streams. Their callbacks are handed to the thread that calls deliver(), since
/// actors of a virtual system know one thread only.
class provider : public sandbox::fake_api {
public:
  explicit provider(const std::string& url)
      : streams_(std::make_shared<sandbox::http_engine>(), {"bench", url, url, "", "e2b_00"}) {}

  /// Names the panes of the sandbox whose stream is opened next.
  void next_panes(std::string names) { next_panes_ = std::move(names); }

  sandbox::call_id open_stream(sandbox::remote where, sandbox::command what,
                               sandbox::stream_handlers handlers) override {
    what.env[panes_variable] = next_panes_;
    auto mine = std::make_shared<sandbox::stream_handlers>(std::move(handlers));
    sandbox::stream_handlers here;
    here.on_stdout = [this, mine](std::string_view data) {
      post([mine, text = std::string{data}] { mine->on_stdout(text); }, data.size());
      return true;
    };
    here.on_end = [this, mine](result<sandbox::command_result> r) {
      post([mine, r] { mine->on_end(r); }, 0);
    };
    return streams_.open_stream(std::move(where), std::move(what), std::move(here));
  }
  void resume(sandbox::call_id) override {}
  void cancel(sandbox::call_id id) override { streams_.cancel(id); }

  /// Hands over what streams have brought, piece by piece with `after_each` behind it. Answers how
  /// many bytes came in all so far; returns without any after `patience`.
  std::size_t deliver(std::chrono::milliseconds patience, const std::function<void()>& after_each) {
    std::vector<std::function<void()>> mail;
    std::size_t bytes = 0;
    {
      std::unique_lock lock{mutex_};
      arrived_.wait_for(lock, patience, [this] { return !posted_.empty(); });
      mail.swap(posted_);
      bytes = bytes_;
    }
    for (auto& f : mail) {
      std::exchange(f, nullptr)();
      after_each();
    }
    return bytes;
  }

  /// Drops what was noted of calls. Done after each sandbox: notes that lived until the end would
  /// leave holes between what the daemon holds, which it does not have.
  void forget_calls() { calls.clear(); }
  /// Drops what a provider knows of its sandboxes: that is no memory of the daemon.
  void forget() {
    boxes.clear();
    std::vector<record>{}.swap(calls);
    std::vector<std::function<void()>>{}.swap(posted_);
  }

private:
  void post(std::function<void()> f, std::size_t bytes) {
    std::lock_guard lock{mutex_};
    posted_.push_back(std::move(f));
    bytes_ += bytes;
    arrived_.notify_one();
  }

  std::string next_panes_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::function<void()>> posted_;
  std::size_t bytes_ = 0;
  sandbox::client streams_; ///< Last: it ends first, and with it all callbacks.
};

} // namespace skep::bench
