#include "guest/input_queue.hpp"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace skep::guest {
namespace {
constexpr std::size_t max_queued_bytes = 8u << 20;
constexpr std::string_view terminal_end = "\x04"; // ^D
} // namespace

result<void> input_queue::open(const std::string& dir, unique_fd input, bool terminal) {
  auto path = dir + "/inputs";
  record_ = unique_fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  if (!record_) return transfer::io_error(path, errno);
  input_ = std::move(input);
  terminal_ = terminal;
  return {};
}

input_queue::outcome input_queue::add(const std::string& key, std::string data, bool end_of_input,
                                      waiter w) {
  if (keys_.contains(key)) return outcome::duplicate;
  if (!input_) return outcome::no_input;
  if (queued_bytes_ + data.size() > max_queued_bytes) return outcome::busy;
  if (!transfer::write_all(record_.get(), key + " " + std::to_string(data.size()) + "\n")
      || ::fdatasync(record_.get()) != 0)
    return outcome::failed;
  keys_.insert(key);
  if (end_of_input && terminal_) {
    data = terminal_end;
    end_of_input = false;
  }
  queued_bytes_ += data.size();
  queue_.push_back({std::move(data), 0, end_of_input, w});
  return outcome::queued;
}

void input_queue::flush(std::vector<waiter>& written, std::vector<waiter>& refused) {
  while (input_ && !queue_.empty()) {
    auto& head = queue_.front();
    if (head.done < head.data.size()) {
      auto n = ::write(input_.get(), head.data.data() + head.done, head.data.size() - head.done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n < 0) {
        for (auto w : close())
          refused.push_back(w);
        return;
      }
      head.done += static_cast<std::size_t>(n);
      queued_bytes_ -= static_cast<std::size_t>(n);
      continue;
    }
    written.push_back(head.who);
    bool end = head.end;
    queue_.pop_front();
    if (end)
      for (auto w : close())
        refused.push_back(w);
  }
}

std::vector<input_queue::waiter> input_queue::close() {
  std::vector<waiter> out;
  for (const auto& waiting : queue_)
    out.push_back(waiting.who);
  queue_.clear();
  queued_bytes_ = 0;
  input_.reset();
  return out;
}

} // namespace skep::guest
