#include "actors/output_log.hpp"

#include "messages/json.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::actors {
namespace {

constexpr std::size_t shortest_masked = 5;
constexpr std::uint64_t freed_together = 1024 * 1024; ///< More than any file system's block.

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
    if (s.size() >= shortest_masked) {
      values_.push_back(s);
      first_bytes_.set(static_cast<unsigned char>(s[0]));
    }
  std::sort(values_.begin(), values_.end(), [](auto& a, auto& b) { return a.size() > b.size(); });
}

// Longest value first, so of two secrets with one beginning the longer is masked whole, as soon as
// it is known that it does not come.
std::string masker::decide(bool over) {
  std::string_view text{held_};
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    auto rest = text.substr(i);
    std::size_t masked = 0;
    if (first_bytes_[static_cast<unsigned char>(rest[0])])
      for (const auto& v : values_) {
        if (!over && rest.size() < v.size() && v.starts_with(rest)) {
          held_.erase(0, i);
          return out;
        }
        if (rest.starts_with(v)) {
          masked = v.size();
          break;
        }
      }
    if (masked > 0)
      out.append(masked, '*');
    else
      out.push_back(rest[0]);
    i += std::max<std::size_t>(masked, 1);
  }
  held_.clear();
  return out;
}

std::string masker::feed(std::string_view data) {
  if (values_.empty()) return std::string{data};
  held_ += data;
  return decide(false);
}

std::string masker::flush() {
  return decide(true);
}

output_log::output_log(int fd, std::uint64_t position, masker mask)
    : fd_(fd), position_(position), begin_(log_begin(fd)), mask_(std::move(mask)) {}

output_log::output_log(output_log&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), position_(other.position_), begin_(other.begin_),
      mask_(std::move(other.mask_)) {}

output_log::~output_log() {
  if (fd_ >= 0) ::close(fd_);
}

std::uint64_t log_begin(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || st.st_size == 0) return 0;
  auto at = ::lseek(fd, 0, SEEK_DATA);
  // Holes that we made are whole MiB; a file system may know smaller ones of its own.
  return at > 0 ? static_cast<std::uint64_t>(at) / freed_together * freed_together : 0;
}

std::uint64_t log_begin(const std::filesystem::path& file) {
  auto fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return 0;
  auto out = log_begin(fd);
  ::close(fd);
  return out;
}

result<void> copy_log(const std::filesystem::path& from, const std::filesystem::path& to) {
  auto begin = log_begin(from);
  std::ifstream in{from, std::ios::binary};
  if (!in) return {}; // nothing was ever written
  std::ofstream out{to, std::ios::binary | std::ios::trunc};
  in.seekg(static_cast<std::streamoff>(begin));
  if (begin > 0)
    out << "[skep: the first " << begin
        << " bytes of this log were dropped; its newest part follows]\n";
  std::string block(256 * 1024, '\0');
  while (out
         && (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0))
    out.write(block.data(), in.gcount());
  out.flush();
  if (!out) return make_error(errc::io, "cannot write " + to.string());
  return {};
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

result<bool> output_log::trim(std::uint64_t cap_bytes, bool at_once) {
  auto slack = at_once ? 0 : std::max<std::uint64_t>(cap_bytes / 16, freed_together);
  if (position_ - begin_ <= cap_bytes + slack) return false;
  auto to = (position_ - cap_bytes) / freed_together * freed_together;
  if (to <= begin_) return false;
  if (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin_),
                  static_cast<off_t>(to - begin_))
      != 0)
    return make_error(errc::io, "cannot free the front of a log", std::strerror(errno));
  begin_ = to;
  return true;
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
