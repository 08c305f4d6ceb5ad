#include "transfer/scan_allow.hpp"

#include "transfer/beneath.hpp"
#include "transfer/scan_rules.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

constexpr std::size_t most_bytes = 1024 * 1024;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

} // namespace

result<allow_list> allow_list::parse(std::string_view text) {
  allow_list out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    auto end = std::min(text.find('\n'), text.size());
    auto line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    auto bad = [&](const std::string& what) {
      return make_error(errc::bad_allow_file,
                        std::string{allow_file_name} + ":" + std::to_string(number) + ": " + what);
    };
    auto mark = line.find(" #");
    if (mark == line.npos || trimmed(line.substr(mark + 2)).empty())
      return bad("a line needs a reason behind ' # '");
    auto head = trimmed(line.substr(0, mark));
    auto gap = head.find_last_of(" \t");
    if (gap == head.npos) return bad("a line is PATH RULE # REASON");
    auto rule = std::string{head.substr(gap + 1)};
    auto path = std::string{trimmed(head.substr(0, gap))};
    if (rule != "*" && !find_scan_rule(rule)) return bad("there is no rule " + rule.substr(0, 60));
    out.entries_.push_back({std::move(path), std::move(rule)});
  }
  return out;
}

result<allow_list> allow_list::read(const std::string& root) {
  auto dir = open_root(root);
  if (!dir) return dir.err();
  unique_fd file{open_beneath(dir->get(), allow_file_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)};
  if (!file) {
    if (errno == ENOENT) return allow_list{};
    return io_error(allow_file_name, errno);
  }
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return io_error(allow_file_name, errno);
  if (!S_ISREG(st.st_mode) || st.st_size > static_cast<off_t>(most_bytes))
    return make_error(errc::bad_allow_file,
                      std::string{allow_file_name} + " is no file of at most 1 MiB");
  std::string text(static_cast<std::size_t>(st.st_size), '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    auto n = ::read(file.get(), text.data() + got, text.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(allow_file_name, errno);
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  text.resize(got);
  return parse(text);
}

std::string allow_list::id() const {
  sha256 hash;
  for (const auto& e : entries_)
    hash.update(e.path + '\0' + e.rule + '\n');
  return hash.hex();
}

bool allow_list::allows(const scan_finding& f) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const entry& e) {
    return (e.rule == "*" || e.rule == f.rule) && ::fnmatch(e.path.c_str(), f.path.c_str(), 0) == 0;
  });
}

bool allow_list::allows_everything() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const entry& e) {
    return e.rule == "*" && e.path.find('*') != e.path.npos
           && e.path.find_first_not_of("*?/") == e.path.npos;
  });
}

} // namespace skep::transfer
