// Input on its way to the agent: recorded by key before it is written, never written twice.
#pragma once

#include "guest/layout.hpp"

#include <deque>
#include <unordered_set>
#include <vector>

namespace skep::guest {

/// Owns the writing end of the agent's input.
class input_queue {
public:
  /// Who waits for an item's fate; opaque to the queue.
  using waiter = int;
  enum class outcome { queued, duplicate, no_input, busy, failed };

  /// Opens D/inputs. `input` may be -1.
  result<void> open(const std::string& dir, unique_fd input, bool terminal);
  /// Records the key, then queues the bytes (or the end of input).
  outcome add(const std::string& key, std::string data, bool end_of_input, waiter w);
  bool wants_to_write() const { return input_ && !queue_.empty(); }
  int fd() const { return input_.get(); }
  /// Writes what fits. Fills `written` and, when the agent closed its end, `refused`.
  void flush(std::vector<waiter>& written, std::vector<waiter>& refused);
  /// Gives up what is left.
  std::vector<waiter> close();

private:
  struct item {
    std::string data;
    std::size_t done = 0;
    bool end = false;
    waiter who;
  };
  unique_fd input_, record_;
  bool terminal_ = false;
  std::deque<item> queue_;
  std::size_t queued_bytes_ = 0;
  std::unordered_set<std::string> keys_;
};

} // namespace skep::guest
