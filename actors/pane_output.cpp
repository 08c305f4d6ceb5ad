#include "actors/pane_output.hpp"

#include "transfer/freed_front.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <limits>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace skep::actors {
namespace {

/// What an agent says of itself is a claim, whatever its size: no sum of claims wraps around.
template <class T>
void add_claim(T& sum, T more) {
  constexpr auto most = std::numeric_limits<T>::max();
  sum = sum > most - more ? most : sum + more;
}

} // namespace

pane_output::pane_output(agent_kind kind, const pane_id& pane)
    : kind_(kind), adapter_(make_adapter(kind, pane)) {}

void pane_output::replay(const std::filesystem::path& log) {
  if (kind_ == agent_kind::command) return;
  transfer::unique_fd in{::open(log.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat st {};
  if (!in || ::fstat(in.get(), &st) != 0) return;
  const auto end = static_cast<std::uint64_t>(st.st_size); // the POLLER may go on writing
  std::string block(64 * 1024, '\0');
  while (read_to_ < end) {
    auto n = ::pread(in.get(), block.data(), std::min<std::uint64_t>(block.size(), end - read_to_),
                     static_cast<off_t>(read_to_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    // Asked behind the read: what was freed meanwhile may have been read as zeros.
    if (auto begin = transfer::kept_from(in.get()); begin > read_to_) {
      if (read_to_ > 0) finish();
      read_to_ = begin;
      continue;
    }
    feed({block.data(), static_cast<std::size_t>(n)});
    read_to_ += static_cast<std::uint64_t>(n);
  }
}

std::vector<agent_block> pane_output::take(std::uint64_t offset, std::string_view bytes) {
  auto end = offset + bytes.size();
  if (end <= read_to_) return {};
  std::vector<agent_block> out;
  if (offset > read_to_) out = finish(); // what lies between was dropped, the line has no end
  if (offset < read_to_) bytes.remove_prefix(static_cast<std::size_t>(read_to_ - offset));
  read_to_ = end;
  for (auto& block : feed(bytes))
    out.push_back(std::move(block));
  return out;
}

std::vector<agent_block> pane_output::finish() {
  return feed("\n");
}

std::vector<agent_block> pane_output::feed(std::string_view bytes) {
  std::vector<agent_block> out;
  for (auto& e : adapter_->on_output(bytes)) {
    if (auto* block = std::get_if<agent_block>(&e))
      out.push_back(std::move(*block));
    else if (auto* usage = std::get_if<pane_usage>(&e))
      add(*usage);
  }
  return out;
}

// An agent may give several results; its adapter gives each of them as a difference.
void pane_output::add(const pane_usage& more) {
  usage_.cost_usd += more.cost_usd;
  add_claim(usage_.input_tokens, more.input_tokens);
  add_claim(usage_.output_tokens, more.output_tokens);
  add_claim(usage_.turns, more.turns);
  if (!more.summary.empty()) usage_.summary = more.summary;
}

std::optional<pane_usage> pane_output::usage() {
  auto out = std::exchange(usage_, {});
  if (out.turns == 0 && out.cost_usd <= 0 && out.input_tokens == 0 && out.output_tokens == 0
      && out.summary.empty())
    return std::nullopt;
  return out;
}

} // namespace skep::actors
