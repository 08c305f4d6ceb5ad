#include "actors/output_log.hpp"

#include "messages/json.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::actors {
namespace {

constexpr std::size_t shortest_masked = 5;

std::string url_form(const std::string& value) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned char c : value) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      out.push_back(static_cast<char>(c));
    } else {
      out.push_back('%');
      out.push_back(hex[c >> 4]);
      out.push_back(hex[c & 15]);
    }
  }
  return out;
}

// The part of base64(prefix + value + anything) that depends on the value alone.
std::string base64_form(const std::string& value, std::size_t alignment) {
  auto text = base64_encode(std::string(alignment, '\0') + value);
  auto first = alignment == 0 ? 0 : alignment == 1 ? 2 : 3;
  auto bits = (alignment + value.size()) * 8;
  auto last = bits / 6;
  return text.substr(static_cast<std::size_t>(first), last - static_cast<std::size_t>(first));
}

} // namespace

std::vector<std::string> masked_forms(const std::vector<std::string>& secrets) {
  std::vector<std::string> out;
  auto add = [&](std::string x) {
    if (x.size() >= shortest_masked && std::find(out.begin(), out.end(), x) == out.end())
      out.push_back(std::move(x));
  };
  for (const auto& s : secrets) {
    if (s.size() < shortest_masked) continue;
    add(s);
    add(url_form(s));
    for (std::size_t i = 0; i < 3; ++i)
      add(base64_form(s, i));
  }
  return out;
}

masker::masker(const std::vector<std::string>& secrets) {
  for (const auto& s : secrets)
    if (s.size() >= shortest_masked) values_.push_back(s);
  std::sort(values_.begin(), values_.end(), [](auto& a, auto& b) { return a.size() > b.size(); });
}

std::size_t masker::undecided_tail(std::string_view text) const {
  std::size_t longest = 0;
  for (const auto& v : values_)
    for (auto n = std::min(v.size() - 1, text.size()); n > longest; --n)
      if (text.substr(text.size() - n) == std::string_view{v}.substr(0, n)) {
        longest = n;
        break;
      }
  return longest;
}

std::string masker::feed(std::string_view data) {
  if (values_.empty()) return std::string{data};
  held_ += data;
  for (const auto& v : values_)
    for (auto i = held_.find(v); i != std::string::npos; i = held_.find(v, i + v.size()))
      held_.replace(i, v.size(), v.size(), '*');
  auto tail = undecided_tail(held_);
  auto out = held_.substr(0, held_.size() - tail);
  held_.erase(0, out.size());
  return out;
}

std::string masker::flush() {
  return std::exchange(held_, {});
}

output_log::output_log(int fd, std::uint64_t position, masker mask)
    : fd_(fd), position_(position), mask_(std::move(mask)) {}

output_log::output_log(output_log&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), position_(other.position_), mask_(std::move(other.mask_)) {
}

output_log::~output_log() {
  if (fd_ >= 0) ::close(fd_);
}

result<output_log> output_log::open(const std::filesystem::path& file,
                                    const std::vector<std::string>& forms) {
  std::error_code ec;
  std::filesystem::create_directories(file.parent_path(), ec);
  auto fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0) {
    auto why = std::string{std::strerror(errno)};
    if (fd >= 0) ::close(fd);
    return make_error(errc::io, "cannot open the log " + file.string(), why);
  }
  return output_log{fd, static_cast<std::uint64_t>(st.st_size), masker{forms}};
}

result<std::string> output_log::append(std::uint64_t offset, std::string_view data) {
  auto want = expected();
  if (offset > want)
    return make_error(errc::bad_frame, "output jumped from offset " + std::to_string(want) + " to "
                                           + std::to_string(offset));
  auto known = want - offset;
  if (known >= data.size()) return std::string{};
  return write(mask_.feed(data.substr(known)));
}

result<std::string> output_log::finish() {
  return write(mask_.flush());
}

result<std::string> output_log::write(std::string text) {
  std::string_view rest{text};
  while (!rest.empty()) {
    auto n = ::write(fd_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return make_error(errc::io, "cannot write a log", std::strerror(errno));
    rest.remove_prefix(static_cast<std::size_t>(n));
    position_ += static_cast<std::uint64_t>(n);
  }
  return text;
}

} // namespace skep::actors
