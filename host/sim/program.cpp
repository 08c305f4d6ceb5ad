#include "host/sim/program.hpp"

#include "host/sim/box.hpp"

namespace skep::host::sim {

task<void> program::while_paused() {
  auto self = shared_from_this();
  while ((home->paused() || stopped_) && signal_ == 0)
    co_await wake_.wait_until(envd::clock::time_point::max());
}

task<bool> program::nap(std::chrono::milliseconds time) {
  auto self = shared_from_this();
  auto until = envd::clock::now() + time;
  while (signal_ == 0 && envd::clock::now() < until)
    co_await wake_.wait_until(until);
  co_await while_paused();
  co_return signal_ == 0;
}

task<std::string> program::read_line() {
  auto self = shared_from_this();
  std::size_t end = 0;
  if (piped) {
    end = piped->find('\n');
    auto first = piped->substr(0, end == piped->npos ? end : end + 1);
    piped->erase(0, first.size());
    co_return first;
  }
  while ((end = input_.find('\n')) == input_.npos && !input_closed_ && signal_ == 0)
    co_await wake_.wait_until(envd::clock::time_point::max());
  if (signal_ != 0) co_return std::string{};
  auto line = input_.substr(0, end == input_.npos ? end : end + 1);
  input_.erase(0, line.size());
  co_return line;
}

task<std::string> program::read_all() {
  if (piped) co_return std::exchange(*piped, {});
  auto self = shared_from_this();
  while (!input_closed_ && signal_ == 0)
    co_await wake_.wait_until(envd::clock::time_point::max());
  co_return std::exchange(input_, {});
}

task<void> program::write(channel to, std::string text) {
  co_await while_paused();
  if (signal_ == 0 && !text.empty()) co_await sink(to, std::move(text));
}

void program::give_input(std::string_view bytes) {
  input_.append(bytes);
  wake_.notify();
}

void program::close_input() {
  input_closed_ = true;
  wake_.notify();
}

void program::signal(int number) {
  if (number == SIGSTOP || number == SIGCONT) {
    stopped_ = number == SIGSTOP;
    return wake_.notify();
  }
  if (signal_ == 0) signal_ = number;
  wake_.notify();
  if (on_signal) on_signal();
}

} // namespace skep::host::sim
