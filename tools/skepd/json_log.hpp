// The daemon's own log, STATE/skepd.log: one JSON object a line, for machines first.
//
//   {"ts":"2026-11-26T17:01:24.123Z","level":"info","component":"sandbox",
//    "event":"sandbox.phase_changed","swarm":"sw_..","sandbox":"sb_..",...}
//
// `ts`, `level`, `component` and `event` are always there, ids where they apply; `event` is a
// stable name. Every text passes the mask. 10 MiB a file, the newest four are kept: skepd.log,
// skepd.1.log, ... Nothing goes to standard output.
#pragma once

#include "messages/json.hpp"

#include <filesystem>
#include <functional>
#include <memory>

namespace skep::tools {

enum class log_level : std::uint8_t { debug, info, warn, error, off };
/// "debug", "info", "warn", "error", "off"; false for anything else.
bool read_log_level(std::string_view text, log_level& out);

/// Removes secrets from a text.
using mask_function = std::function<std::string(std::string_view)>;

/// One line, without its newline. `fields`: an object, or null.
std::string log_text(utc_time at, log_level level, std::string_view component,
                     std::string_view event, const json& fields, const mask_function& mask);

class json_log {
public:
  /// io when the file cannot be opened.
  static result<std::shared_ptr<json_log>> open(const std::filesystem::path& file, log_level least,
                                                mask_function mask);
  bool wants(log_level level) const { return level >= least_ && level != log_level::off; }
  /// Never throws; a disk that refuses loses the line. Thread-safe.
  void write(log_level level, std::string_view component, std::string_view event,
             const json& fields = {}) noexcept;

private:
  json_log() = default;
  struct sink;
  log_level least_ = log_level::info;
  mask_function mask_;
  std::shared_ptr<sink> sink_;
};

/// The log of this process; nothing is written before one was set. Thread-safe.
void set_process_log(std::shared_ptr<json_log> log);
std::shared_ptr<json_log> process_log();
void log_line(log_level level, std::string_view component, std::string_view event,
              const json& fields = {});

} // namespace skep::tools
