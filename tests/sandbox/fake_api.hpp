// An in-memory `api` for tests of actors: a provider with sandboxes, files and scripted processes.
//
// Callbacks run at once, inside the call and on the caller's thread (the real client never does
// that; under a virtual clock it is what a test wants). One thread only.
//
//   fake_api provider;
//   provider.on_run = [](const remote&, const command& c) { ... return command_result{...}; };
//   provider.fail(operation::create, make_error(errc::quota));        // the next create is refused
//   provider.fail(operation::create, error, fake_api::after_effect);  // made, but the answer is
//   lost provider.hold(operation::kill); ... provider.release(operation::kill); // hangs, then
//   answers provider.streams.back()->emit("bytes"); provider.streams.back()->end(0);
#pragma once

#include "sandbox/api.hpp"
#include "sandbox/policy.hpp"

#include <algorithm>
#include <deque>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

namespace skep::sandbox {

class fake_api : public api {
public:
  enum when { before_effect, after_effect };

  /// One call as it came.
  struct record {
    call_id id;
    operation op;
    std::string remote_id;
    std::string what; ///< Template, path, argv joined by blanks, or lease in seconds.
  };

  struct box {
    detail info;
    create_params params;
    network_rules network;
    std::chrono::seconds lease{0};
    usage_sample usage;                       ///< What usage() answers.
    model_usage spent;                        ///< What get_model_usage() answers.
    std::optional<std::uint64_t> allowance;   ///< As set_allowance() left it.
    std::map<std::string, std::string> files; ///< By absolute path.
    std::set<std::string> directories;
    std::map<std::uint32_t, command> processes; ///< Started in the background or by streams.
  };

  /// A stream that the code under test has opened.
  struct stream {
    call_id id = 0;
    remote where;
    command what;
    std::uint32_t pid = 0;
    bool open = true;
    bool paused = false;
    std::string input;                             ///< stdin_data and what send_input() brought.
    std::deque<std::pair<bool, std::string>> kept; ///< Output that came while paused.
    stream_handlers handlers;

    void emit(std::string bytes, bool to_stderr = false) {
      if (!open) return;
      if (paused) {
        kept.emplace_back(to_stderr, std::move(bytes));
        return;
      }
      auto to = to_stderr ? handlers.on_stderr : handlers.on_stdout; // it may end the stream
      if (to && !to(bytes)) paused = true;
    }
    void end(int exit_code) {
      finish(command_result{
          exit_code, true, "exit status " + std::to_string(exit_code), {}, {}, false, false});
    }
    void fail(error e) { finish(std::move(e)); }
    void finish(result<command_result> how) {
      if (!std::exchange(open, false)) return;
      // What ended holds nobody any more, as with the real client.
      std::exchange(handlers, {}).on_end(std::move(how));
    }
  };

  // -- what a test sets and reads -----------------------------------------------------------------

  std::map<std::string, box> boxes; ///< By remote id.
  bool counts_models = false;       ///< As skep-host's gateway does.
  /// No lease ends later than this after the create, whatever is asked for and without a word of
  /// it, as plans of E2B have it. 0: no such cap.
  std::chrono::seconds longest_life{0};
  std::vector<record> calls;
  std::vector<std::chrono::milliseconds> download_deadlines; ///< As asked for, 0: the policy's.
  std::vector<std::chrono::milliseconds> upload_limits; ///< Of each upload_file; 0: the policy's.
  std::function<void(std::uint64_t)> sending; ///< on_sent of the upload_file that is held.
  std::vector<std::shared_ptr<stream>> streams;
  std::function<result<command_result>(const remote&, const command&)> on_run;
  /// Called after on_start of a new stream.
  std::function<void(stream&)> on_stream;
  std::function<std::chrono::system_clock::time_point()> now = [] {
    return std::chrono::system_clock::time_point{};
  };

  /// Asked before each call: an error is its answer, without an effect. `what` as in record.
  std::function<error(operation, const std::string& what)> turn_down;
  /// The next `op` that is not failed yet answers with `e`.
  void fail(operation op, error e, when at = before_effect) {
    failures_[op].emplace_back(std::move(e), at);
  }
  /// From now on `op` does its work but gives no answer.
  void hold(operation op) { held_.insert(op); }
  /// Gives the answers held back, in order, and stops holding.
  void release(operation op) {
    held_.erase(op);
    if (op == operation::upload_file) sending = nullptr;
    for (auto i = pending_.begin(); i != pending_.end();) {
      if (i->second.op != op) {
        ++i;
        continue;
      }
      auto answer = std::move(i->second.answer);
      i = pending_.erase(i);
      answer();
    }
  }
  std::size_t count(operation op) const {
    return static_cast<std::size_t>(
        std::count_if(calls.begin(), calls.end(), [&](auto& c) { return c.op == op; }));
  }
  /// Ends a sandbox as a provider does when the lease is over: streams break, calls say gone.
  void lose(const std::string& remote_id) {
    boxes.erase(remote_id);
    for (auto& s : std::vector{streams})
      if (s->where.remote_id == remote_id) s->fail(make_error(errc::gone));
  }

  // -- api ----------------------------------------------------------------------------------------

  call_id create(create_params params, done<created> then) override {
    return act<created>(operation::create, {}, params.template_name, then,
                        [&]() -> result<created> {
                          box b;
                          auto id = "i" + std::to_string(100000 + boxes_made_++);
                          b.info.remote_id = id;
                          b.info.metadata = params.metadata;
                          b.info.started_at = now();
                          b.info.end_at = now() + params.lease;
                          b.info.address = {id, params.secure ? "token-" + id : "", ""};
                          b.info.envd_version = "0.6.13";
                          b.lease = params.lease;
                          b.network = params.network;
                          b.params = std::move(params);
                          created out{b.info.address, b.info.envd_version};
                          boxes.emplace(id, std::move(b));
                          return out;
                        });
  }
  call_id list(list_filter filter, done<std::vector<listed>> then) override {
    return act<std::vector<listed>>(
        operation::list, {}, {}, then, [&]() -> result<std::vector<listed>> {
          std::vector<listed> out;
          for (auto& [id, b] : boxes) {
            const bool state =
                b.info.state == remote_state::running ? filter.running : filter.paused;
            const bool labels =
                std::all_of(filter.metadata.begin(), filter.metadata.end(), [&](auto& wanted) {
                  auto i = b.info.metadata.find(wanted.first);
                  return i != b.info.metadata.end() && i->second == wanted.second;
                });
            if (state && labels) out.push_back(b.info);
          }
          return out;
        });
  }
  call_id get(std::string remote_id, done<detail> then) override {
    return act<detail>(operation::get, remote_id, {}, then, [&]() -> result<detail> {
      auto i = boxes.find(remote_id);
      if (i == boxes.end()) return make_error(errc::not_found);
      return i->second.info;
    });
  }
  call_id kill(std::string remote_id, done<bool> then) override {
    return act<bool>(operation::kill, remote_id, {}, then, [&]() -> result<bool> {
      const bool there = boxes.contains(remote_id);
      lose(remote_id);
      return there;
    });
  }
  call_id set_timeout(std::string remote_id, std::chrono::seconds lease, done<void> then) override {
    return act<void>(operation::set_timeout, remote_id, std::to_string(lease.count()), then,
                     [&]() -> result<void> {
                       auto i = boxes.find(remote_id);
                       if (i == boxes.end()) return make_error(errc::not_found);
                       auto& b = i->second;
                       b.lease = lease; // as it was asked for
                       b.info.end_at = now() + lease;
                       if (longest_life.count() > 0)
                         b.info.end_at = std::min(b.info.end_at, b.info.started_at + longest_life);
                       return {};
                     });
  }
  call_id set_network(std::string remote_id, network_rules rules, done<void> then) override {
    return act<void>(operation::set_network, remote_id, {}, then, [&]() -> result<void> {
      auto i = boxes.find(remote_id);
      if (i == boxes.end()) return make_error(errc::not_found);
      i->second.network = std::move(rules);
      return {};
    });
  }

  call_id pause(std::string remote_id, bool, done<bool> then) override {
    return act<bool>(operation::pause, remote_id, {}, then, [&]() -> result<bool> {
      auto i = boxes.find(remote_id);
      if (i == boxes.end()) return make_error(errc::not_found);
      return std::exchange(i->second.info.state, remote_state::paused) == remote_state::running;
    });
  }
  call_id connect(std::string remote_id, std::chrono::seconds lease, done<created> then) override {
    return act<created>(operation::connect, remote_id, std::to_string(lease.count()), then,
                        [&]() -> result<created> {
                          auto i = boxes.find(remote_id);
                          if (i == boxes.end()) return make_error(errc::not_found);
                          auto& info = i->second.info;
                          info.end_at = std::max(info.end_at, now() + lease);
                          created out{info.address, info.envd_version};
                          out.resumed = std::exchange(info.state, remote_state::running)
                                        == remote_state::paused;
                          return out;
                        });
  }
  call_id usage(remote where, done<usage_sample> then) override {
    return inside<usage_sample>(operation::usage, where, {}, then,
                                [](box& b) -> result<usage_sample> { return b.usage; });
  }

  call_id get_model_usage(std::string remote_id, done<model_usage> then) override {
    return act<model_usage>(operation::get_model_usage, remote_id, {}, then,
                            [&]() -> result<model_usage> {
                              auto i = boxes.find(remote_id);
                              if (!counts_models || i == boxes.end())
                                return make_error(errc::not_found);
                              return i->second.spent;
                            });
  }
  call_id set_allowance(std::string remote_id, std::optional<std::uint64_t> micro_usd,
                        done<void> then) override {
    auto text = micro_usd ? std::to_string(*micro_usd) : std::string{"none"};
    return act<void>(operation::set_allowance, remote_id, text, then, [&]() -> result<void> {
      auto i = boxes.find(remote_id);
      if (!counts_models || i == boxes.end()) return make_error(errc::not_found);
      i->second.allowance = micro_usd;
      return {};
    });
  }

  call_id run(remote where, command what, done<command_result> then) override {
    return inside<command_result>(
        operation::run, where, joined(what), then, [&](box&) -> result<command_result> {
          if (on_run) return on_run(where, what);
          return command_result{0, true, "exit status 0", {}, {}, false, false};
        });
  }
  call_id start_background(remote where, command what, done<std::uint32_t> then) override {
    return inside<std::uint32_t>(operation::start_background, where, joined(what), then,
                                 [&](box& b) -> result<std::uint32_t> {
                                   b.processes.emplace(++last_pid_, std::move(what));
                                   return last_pid_;
                                 });
  }
  call_id open_stream(remote where, command what, stream_handlers handlers) override {
    const auto id = note(operation::open_stream, where.remote_id, joined(what));
    auto b = boxes.find(where.remote_id);
    auto planned = take_failure(operation::open_stream);
    if (!planned && b == boxes.end()) planned = {make_error(errc::gone), before_effect};
    if (planned) {
      handlers.on_end(planned->first);
      return id;
    }
    auto s = std::make_shared<stream>();
    s->id = id;
    s->where = std::move(where);
    s->what = std::move(what);
    s->pid = ++last_pid_;
    s->input = s->what.stdin_data;
    s->handlers = std::move(handlers);
    b->second.processes.emplace(s->pid, s->what);
    streams.push_back(s);
    if (held_.contains(operation::open_stream)) return id;
    if (s->handlers.on_start) s->handlers.on_start(s->pid);
    if (on_stream) on_stream(*s);
    return id;
  }
  void resume(call_id id) override {
    for (auto& s : std::vector{streams}) {
      if (s->id != id || !std::exchange(s->paused, false)) continue;
      while (!s->paused && s->open && !s->kept.empty()) {
        auto [to_stderr, bytes] = std::move(s->kept.front());
        s->kept.pop_front();
        s->emit(std::move(bytes), to_stderr);
      }
    }
  }
  call_id send_input(remote where, std::uint32_t pid, std::string data, bool,
                     done<void> then) override {
    return inside<void>(operation::send_input, where, data, then, [&](box& b) -> result<void> {
      if (!b.processes.contains(pid)) return make_error(errc::not_found);
      for (auto& s : streams)
        if (s->pid == pid) s->input += data;
      return {};
    });
  }
  call_id close_stdin(remote where, std::uint32_t pid, done<void> then) override {
    return process_call(operation::close_stdin, where, pid, then, [](box&) {});
  }
  call_id send_signal(remote where, std::uint32_t pid, signal, done<void> then) override {
    return process_call(operation::send_signal, where, pid, then, [&](box& b) {
      b.processes.erase(pid);
      for (auto& s : std::vector{streams})
        if (s->pid == pid)
          s->finish(command_result{-1, false, "signal: terminated", {}, {}, false, false});
    });
  }
  call_id resize_pty(remote where, std::uint32_t pid, command::terminal, done<void> then) override {
    return process_call(operation::resize_pty, where, pid, then, [](box&) {});
  }
  call_id list_processes(remote where, done<std::vector<process_info>> then) override {
    return inside<std::vector<process_info>>(operation::list_processes, where, {}, then,
                                             [&](box& b) -> result<std::vector<process_info>> {
                                               std::vector<process_info> out;
                                               for (auto& [pid, c] : b.processes)
                                                 out.push_back({pid, c.tag, c.argv});
                                               return out;
                                             });
  }

  call_id upload_file(remote where, file_slice from, std::string to, call_options how,
                      done<void> then) override {
    upload_limits.push_back(how.deadline);
    return inside<void>(operation::upload_file, where, to, then, [&](box& b) -> result<void> {
      if (held_.contains(operation::upload_file)) sending = std::move(how.on_sent);
      std::ifstream in{from.file, std::ios::binary};
      if (!in) return make_error(errc::file_not_found, from.file.string());
      std::string content{std::istreambuf_iterator<char>{in}, {}};
      b.files[to] = content.substr(from.offset, from.bytes);
      return {};
    });
  }
  call_id write_file(remote where, std::string path, std::string content, call_options,
                     done<void> then) override {
    return inside<void>(operation::write_file, where, path, then, [&](box& b) -> result<void> {
      b.files[path] = std::move(content);
      return {};
    });
  }
  call_id read_file(remote where, std::string path, std::uint64_t offset, std::uint64_t length,
                    call_options, done<file_piece> then) override {
    return inside<file_piece>(
        operation::read_file, where, path, then, [&](box& b) -> result<file_piece> {
          auto i = b.files.find(path);
          if (i == b.files.end()) return make_error(errc::file_not_found, path);
          const auto& all = i->second;
          auto from = std::min<std::size_t>(offset, all.size());
          return file_piece{all.substr(from, length == 0 ? std::string::npos : length), all.size()};
        });
  }
  call_id download_file(remote where, std::string from, std::filesystem::path to,
                        std::uint64_t cap_bytes, call_options options,
                        done<std::uint64_t> then) override {
    download_deadlines.push_back(options.deadline);
    return inside<std::uint64_t>(operation::download_file, where, from, then,
                                 [&](box& b) -> result<std::uint64_t> {
                                   auto i = b.files.find(from);
                                   if (i == b.files.end())
                                     return make_error(errc::file_not_found, from);
                                   if (i->second.size() > cap_bytes)
                                     return make_error(errc::too_large, from);
                                   std::ofstream{to, std::ios::binary} << i->second;
                                   return std::uint64_t{i->second.size()};
                                 });
  }
  call_id stat(remote where, std::string path, call_options, done<entry> then) override {
    return inside<entry>(operation::stat, where, path, then, [&](box& b) -> result<entry> {
      if (!b.files.contains(path) && !b.directories.contains(path))
        return make_error(errc::file_not_found, path);
      return entry_of(b, path);
    });
  }
  call_id list_dir(remote where, std::string path, std::uint32_t, call_options,
                   done<std::vector<entry>> then) override {
    return inside<std::vector<entry>>(operation::list_dir, where, path, then,
                                      [&](box& b) -> result<std::vector<entry>> {
                                        std::vector<entry> out;
                                        auto add = [&](const std::string& x) {
                                          if (std::filesystem::path{x}.parent_path() == path)
                                            out.push_back(entry_of(b, x));
                                        };
                                        for (auto& [name, content] : b.files)
                                          add(name);
                                        for (auto& name : b.directories)
                                          add(name);
                                        return out;
                                      });
  }
  call_id make_dir(remote where, std::string path, call_options, done<void> then) override {
    return inside<void>(operation::make_dir, where, path, then, [&](box& b) -> result<void> {
      if (!b.directories.insert(path).second) return make_error(errc::exists, path);
      return {};
    });
  }
  call_id move(remote where, std::string from, std::string to, call_options,
               done<void> then) override {
    return inside<void>(operation::move, where, from, then, [&](box& b) -> result<void> {
      auto node = b.files.extract(from);
      if (node.empty()) return make_error(errc::file_not_found, from);
      b.files.erase(to);
      node.key() = to;
      b.files.insert(std::move(node));
      return {};
    });
  }
  call_id remove(remote where, std::string path, call_options, done<void> then) override {
    return inside<void>(operation::remove, where, path, then, [&](box& b) -> result<void> {
      auto below = [&](const std::string& x) { return x == path || x.starts_with(path + "/"); };
      std::erase_if(b.files, [&](auto& x) { return below(x.first); });
      std::erase_if(b.directories, below);
      return {};
    });
  }
  call_id health(remote where, done<void> then) override {
    return inside<void>(operation::health, where, {}, then,
                        [](box&) -> result<void> { return {}; });
  }

  void cancel(call_id id) override {
    if (auto i = pending_.find(id); i != pending_.end()) {
      auto refuse = std::move(i->second.refuse);
      if (i->second.op == operation::upload_file) sending = nullptr;
      pending_.erase(i);
      refuse(make_error(errc::cancelled));
    }
    for (auto& s : std::vector{streams})
      if (s->id == id) s->fail(make_error(errc::cancelled));
  }

private:
  using failure = std::pair<error, when>;
  struct held_answer {
    operation op;
    std::function<void()> answer;
    std::function<void(error)> refuse;
  };

  static std::string joined(const command& c) {
    std::string out;
    for (auto& word : c.argv)
      out += (out.empty() ? "" : " ") + word;
    return out;
  }
  static entry entry_of(const box& b, const std::string& path) {
    entry out;
    out.path = path;
    out.name = std::filesystem::path{path}.filename();
    auto i = b.files.find(path);
    out.type = i == b.files.end() ? entry_type::directory : entry_type::file;
    out.size_bytes = i == b.files.end() ? 0 : i->second.size();
    out.mode = out.type == entry_type::file ? 0644 : 0755;
    return out;
  }
  call_id note(operation op, std::string remote_id, std::string what) {
    calls.push_back({++last_id_, op, std::move(remote_id), std::move(what)});
    return last_id_;
  }
  std::optional<failure> take_failure(operation op) {
    auto& queue = failures_[op];
    if (queue.empty()) return {};
    auto out = std::move(queue.front());
    queue.pop_front();
    out.first.step = to_string(op);
    return out;
  }
  template <class T, class Work>
  call_id act(operation op, std::string remote_id, std::string what, done<T> then, Work work) {
    auto no = turn_down ? turn_down(op, what) : error{};
    const auto id = note(op, std::move(remote_id), std::move(what));
    if (no) {
      answer<T>(id, op, then, std::move(no));
      return id;
    }
    auto planned = take_failure(op);
    if (planned && planned->second == before_effect) {
      answer<T>(id, op, then, planned->first);
      return id;
    }
    auto out = work();
    if (planned)
      answer<T>(id, op, then, planned->first);
    else
      answer<T>(id, op, then, std::move(out));
    return id;
  }
  template <class T, class Work>
  call_id inside(operation op, const remote& where, std::string what, done<T> then, Work work) {
    return act<T>(op, where.remote_id, std::move(what), then, [&]() -> result<T> {
      auto i = boxes.find(where.remote_id);
      if (i == boxes.end()) return make_error(errc::gone);
      return work(i->second);
    });
  }
  template <class Work>
  call_id process_call(operation op, const remote& where, std::uint32_t pid, done<void> then,
                       Work work) {
    return inside<void>(op, where, std::to_string(pid), then, [&](box& b) -> result<void> {
      if (!b.processes.contains(pid)) return make_error(errc::not_found);
      work(b);
      return {};
    });
  }
  template <class T>
  void answer(call_id id, operation op, done<T> then, result<T> out) {
    if (held_.contains(op)) {
      pending_.emplace(
          id, held_answer{op, [then, out] { then(out); }, [then](error e) { then(std::move(e)); }});
      return;
    }
    then(std::move(out));
  }

  call_id last_id_ = 0;
  std::uint32_t last_pid_ = 100;
  int boxes_made_ = 0;
  std::map<operation, std::deque<failure>> failures_;
  std::set<operation> held_;
  std::map<call_id, held_answer> pending_;
};

} // namespace skep::sandbox
