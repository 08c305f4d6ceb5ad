#include "tools/skepd/json_log.hpp"

#include <array>
#include <atomic>
#include <ctime>
#include <mutex>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

namespace skep::tools {
namespace {

constexpr std::size_t most_bytes = 10 * 1024 * 1024;
constexpr std::size_t older_files = 3;
constexpr std::array<std::string_view, 5> level_names = {"debug", "info", "warn", "error", "off"};

std::string time_text(utc_time t) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(t);
  auto plain = std::chrono::system_clock::to_time_t(seconds);
  std::tm parts{};
  ::gmtime_r(&plain, &parts);
  char text[48];
  std::string out{text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts)};
  std::snprintf(text, sizeof text, ".%03dZ", static_cast<int>((t - seconds).count()));
  return out + text;
}

void masked(json& x, const mask_function& mask) {
  if (x.is_string())
    x = mask(x.get_ref<const std::string&>());
  else if (x.is_structured())
    for (auto& y : x)
      masked(y, mask);
}

std::mutex process_log_mutex;
std::shared_ptr<json_log>& process_log_slot() {
  static std::shared_ptr<json_log> log;
  return log;
}

} // namespace

struct json_log::sink {
  std::shared_ptr<spdlog::logger> logger;
};

bool read_log_level(std::string_view text, log_level& out) {
  for (std::size_t i = 0; i < level_names.size(); ++i)
    if (level_names[i] == text) {
      out = static_cast<log_level>(i);
      return true;
    }
  return false;
}

std::string log_text(utc_time at, log_level level, std::string_view component,
                     std::string_view event, const json& fields, const mask_function& mask) {
  json out{{"ts", time_text(at)},
           {"level", std::string{level_names[static_cast<std::size_t>(level)]}},
           {"component", std::string{component}},
           {"event", std::string{event}}};
  if (fields.is_object()) {
    auto more = fields;
    if (mask) masked(more, mask);
    for (auto& [key, value] : more.items())
      if (!out.contains(key)) out[key] = std::move(value);
  }
  return to_line(out);
}

result<std::shared_ptr<json_log>> json_log::open(const std::filesystem::path& file, log_level least,
                                                 mask_function mask) {
  std::shared_ptr<json_log> out{new json_log};
  out->least_ = least;
  out->mask_ = std::move(mask);
  try {
    auto to = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file.string(), most_bytes,
                                                                     older_files);
    out->sink_ = std::make_shared<sink>(sink{std::make_shared<spdlog::logger>("skepd", to)});
    out->sink_->logger->set_pattern("%v");
    out->sink_->logger->set_level(spdlog::level::trace);
    out->sink_->logger->flush_on(spdlog::level::trace);
    // Its own words would go to standard error, again and again while a disk is full.
    out->sink_->logger->set_error_handler([](const std::string&) {});
  } catch (const std::exception& e) {
    return make_error(errc::io, "cannot open " + file.string(), e.what());
  }
  return out;
}

void json_log::write(log_level level, std::string_view component, std::string_view event,
                     const json& fields) noexcept {
  if (!wants(level)) return;
  try {
    auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    sink_->logger->info(std::string_view{log_text(now, level, component, event, fields, mask_)});
  } catch (...) { // a log line is worth no daemon
  }
}

void set_process_log(std::shared_ptr<json_log> log) {
  std::lock_guard guard{process_log_mutex};
  process_log_slot() = std::move(log);
}

std::shared_ptr<json_log> process_log() {
  std::lock_guard guard{process_log_mutex};
  return process_log_slot();
}

void log_line(log_level level, std::string_view component, std::string_view event,
              const json& fields) {
  if (auto log = process_log()) log->write(level, component, event, fields);
}

} // namespace skep::tools
