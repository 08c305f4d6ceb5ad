#include "transfer/tar_format.hpp"

#include <algorithm>
#include <array>

namespace skep::transfer {
namespace {
constexpr std::size_t block = 512;
constexpr std::uint64_t max_octal_size = 077777777777; // 11 digits

struct header {
  std::array<char, block> b{};
  void text(std::size_t at, std::string_view value) {
    std::copy(value.begin(), value.end(), b.begin() + static_cast<std::ptrdiff_t>(at));
  }
  /// `digits` octal digits; the field's last byte stays NUL.
  void octal(std::size_t at, std::size_t digits, std::uint64_t value) {
    for (auto i = digits; i-- > 0; value >>= 3)
      b[at + i] = static_cast<char>('0' + (value & 7));
  }
  std::string_view finish() {
    text(257, std::string_view{"ustar\0"
                               "00",
                               8});
    octal(108, 7, 0); // user and group: nobody's business
    octal(116, 7, 0);
    text(148, "        ");
    unsigned sum = 0;
    for (char c : b)
      sum += static_cast<unsigned char>(c);
    octal(148, 6, sum);
    b[154] = '\0';
    return {b.data(), b.size()};
  }
};

/// Where to cut `path` into prefix and name; npos when it does not fit in a ustar header.
std::size_t split_path(std::string_view path) {
  if (path.size() <= 100) return 0;
  for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
    if (slash <= 155 && path.size() - slash - 1 <= 100) return slash;
  return path.npos;
}

/// "LENGTH KEY=VALUE\n"; the length counts itself.
std::string pax_record(std::string_view key, std::string_view value) {
  auto rest = key.size() + value.size() + 3;
  auto length = rest + 1;
  while (std::to_string(length).size() + rest != length)
    ++length;
  return std::to_string(length) + " " + std::string{key} + "=" + std::string{value} + "\n";
}

bool ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
} // namespace

std::string tar_header(const file_entry& entry, std::int64_t mtime_s,
                       const std::string& link_target) {
  bool link = entry.type == file_entry::kind::symlink;
  auto size = link ? 0 : entry.size;
  auto mtime = static_cast<std::uint64_t>(std::max<std::int64_t>(mtime_s, 0));
  auto cut = split_path(entry.path);
  std::string out, records;
  if (cut == entry.path.npos) records += pax_record("path", entry.path);
  if (link_target.size() > 100) records += pax_record("linkpath", link_target);
  if (size > max_octal_size) records += pax_record("size", std::to_string(size));
  if (!records.empty()) {
    if (!ascii(records)) records.insert(0, pax_record("hdrcharset", "BINARY"));
    header x;
    x.text(0, "PaxHeader");
    x.octal(100, 7, 0644);
    x.octal(124, 11, records.size());
    x.octal(136, 11, mtime);
    x.b[156] = 'x';
    records.resize((records.size() + block - 1) / block * block);
    out += x.finish();
    out += records;
  }
  header h;
  std::string_view path{entry.path};
  if (cut == path.npos) {
    h.text(0, path.substr(0, 100)); // for readers without pax
  } else if (cut > 0) {
    h.text(345, path.substr(0, cut));
    h.text(0, path.substr(cut + 1));
  } else {
    h.text(0, path);
  }
  h.octal(100, 7, link ? 0777 : entry.mode);
  h.octal(124, 11, std::min(size, max_octal_size));
  h.octal(136, 11, mtime & max_octal_size);
  h.b[156] = link ? '2' : '0';
  h.text(157, std::string_view{link_target}.substr(0, 100));
  out += h.finish();
  return out;
}

std::size_t tar_padding(std::uint64_t size) {
  return static_cast<std::size_t>((block - size % block) % block);
}

} // namespace skep::transfer
