// The real `api`: E2B's control API and envd over an http_engine. One client per provider; clients
// share the engine.
//
//   client (any thread)  --post-->  client_core (engine thread)  -->  http_engine
//     client_control.cpp             calls, deadlines, attempts        sockets
//     client_process.cpp             token refresh
//     client_files.cpp
//   control, templates, envd: the rest of the protocol, over the same core
//
// Nothing is repeated but calls that change nothing (policy.hpp), and one case: when envd answers
// 401, the sandbox's present token is fetched once and the request sent again (a resume changes
// it).
#pragma once

#include "sandbox/api.hpp"
#include "sandbox/http_engine.hpp"
#include "sandbox/policy.hpp"

#include <memory>

namespace skep::sandbox {

class client_core;

class client final : public api {
public:
  client(std::shared_ptr<http_engine> engine, endpoint where, policy limits = {});
  /// Ends every call with errc::cancelled and waits for their callbacks. Not on the engine's
  /// thread.
  ~client() override;

  call_id create(create_params params, done<created> then) override;
  call_id list(list_filter filter, done<std::vector<listed>> then) override;
  call_id get(std::string remote_id, done<detail> then) override;
  call_id kill(std::string remote_id, done<bool> then) override;
  call_id set_timeout(std::string remote_id, std::chrono::seconds lease, done<void> then) override;
  call_id set_network(std::string remote_id, network_rules rules, done<void> then) override;
  call_id pause(std::string remote_id, bool keep_memory, done<bool> then) override;
  call_id connect(std::string remote_id, std::chrono::seconds lease, done<created> then) override;
  call_id usage(remote where, done<usage_sample> then) override;
  call_id get_model_usage(std::string remote_id, done<model_usage> then) override;
  call_id set_allowance(std::string remote_id, std::optional<std::uint64_t> micro_usd,
                        done<void> then) override;

  call_id run(remote where, command what, done<command_result> then) override;
  call_id start_background(remote where, command what, done<std::uint32_t> then) override;
  call_id open_stream(remote where, command what, stream_handlers handlers) override;
  void resume(call_id stream) override;
  call_id send_input(remote where, std::uint32_t pid, std::string data, bool to_pty,
                     done<void> then) override;
  call_id close_stdin(remote where, std::uint32_t pid, done<void> then) override;
  call_id send_signal(remote where, std::uint32_t pid, signal which, done<void> then) override;
  call_id resize_pty(remote where, std::uint32_t pid, command::terminal size,
                     done<void> then) override;
  call_id list_processes(remote where, done<std::vector<process_info>> then) override;

  call_id upload_file(remote where, file_slice from, std::string to, call_options options,
                      done<void> then) override;
  call_id write_file(remote where, std::string path, std::string content, call_options options,
                     done<void> then) override;
  call_id read_file(remote where, std::string path, std::uint64_t offset, std::uint64_t length,
                    call_options options, done<file_piece> then) override;
  call_id download_file(remote where, std::string from, std::filesystem::path to,
                        std::uint64_t cap_bytes, call_options options,
                        done<std::uint64_t> then) override;
  call_id stat(remote where, std::string path, call_options options, done<entry> then) override;
  call_id list_dir(remote where, std::string path, std::uint32_t depth, call_options options,
                   done<std::vector<entry>> then) override;
  call_id make_dir(remote where, std::string path, call_options options, done<void> then) override;
  call_id move(remote where, std::string from, std::string to, call_options options,
               done<void> then) override;
  call_id remove(remote where, std::string path, call_options options, done<void> then) override;
  call_id health(remote where, done<void> then) override;

  void cancel(call_id id) override;

  /// What control, templates and envd send by; they must not outlive this client.
  const std::shared_ptr<client_core>& core() const { return core_; }

private:
  std::shared_ptr<http_engine> engine_; ///< Outlives core_.
  std::shared_ptr<client_core> core_;
};

} // namespace skep::sandbox
