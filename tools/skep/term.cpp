#include "tools/skep/term.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

namespace skep::cli {

bool is_tty(FILE* stream) {
  return ::isatty(::fileno(stream)) == 1;
}

bool colours(FILE* stream) {
  const auto* term = std::getenv("TERM");
  return is_tty(stream) && std::getenv("NO_COLOR") == nullptr && term != nullptr
         && std::string_view{term} != "dumb";
}

std::size_t columns(FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 100;
}

std::size_t rows(FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_row > 0) return size.ws_row;
  return 24;
}

std::string style(FILE* stream, tint t, std::string_view text) {
  static constexpr std::array codes{"", "1", "2", "31", "32", "33", "36"};
  if (t == tint::none || !colours(stream)) return std::string{text};
  return "\x1b[" + std::string{codes[static_cast<std::size_t>(t)]} + "m" + std::string{text}
         + "\x1b[0m";
}

namespace {
/// In UTF-8 an 8-bit control (C1) is this byte and one of 0x80 to 0x9f.
constexpr unsigned char c1_lead = 0xc2;
bool is_c1(unsigned char c) {
  return c >= 0x80 && c < 0xa0;
}
} // namespace

std::string safe_line(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t shown = 0;
  unsigned char last = 0;
  for (unsigned char c : text) {
    bool c1 = std::exchange(last, c) == c1_lead && is_c1(c);
    bool begins = (c & 0xC0) != 0x80; // a character begins here (UTF-8)
    if (width > 0 && begins && shown == width) {
      out += "...";
      break;
    }
    shown += begins;
    if (c1) {
      out.back() = '?';
      continue;
    }
    if (c == '\n' || c == '\t' || c == '\r')
      out += ' ';
    else
      out += c < 0x20 || c == 0x7f ? '?' : static_cast<char>(c);
  }
  return out;
}

std::string safe_filter::pass(std::string_view bytes) {
  constexpr std::size_t longest_sequence = 32;
  std::string out;
  for (char ch : bytes) {
    auto c = static_cast<unsigned char>(ch);
    switch (state_) {
    case state::text:
      if (c == 0x1b)
        state_ = state::escape;
      else
        on_text(out, ch);
      break;
    case state::escape:
      pending_ = "\x1b[";
      // CSI; or a string (OSC, DCS, SOS, PM, APC) up to BEL or ST; anything else is one character.
      state_ = c == '['                                                   ? state::csi
               : c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_' ? state::string
                                                                          : state::text;
      break;
    case state::csi:
      pending_ += ch;
      if (c >= 0x40 && c <= 0x7e) {
        bool colour =
            c == 'm' && pending_.find_first_not_of("0123456789;:", 2) + 1 == pending_.size();
        if (colour) out += pending_;
        state_ = state::text;
      } else if (c < 0x20 || pending_.size() > longest_sequence) {
        state_ = state::text;
      }
      break;
    case state::string:
      if (c == 0x1b)
        state_ = state::string_escape;
      else if (c == 0x07 || c == '\n') // a newline ends what nobody closed
        state_ = state::text;
      break;
    case state::string_escape:
      state_ = c == '\\' ? state::text : state::string;
      break;
    }
  }
  return out;
}

void safe_filter::on_text(std::string& out, char ch) {
  auto c = static_cast<unsigned char>(ch);
  if (std::exchange(c1_lead_, false)) {
    if (is_c1(c)) return;
    out += static_cast<char>(c1_lead);
    missing_ = 1;
  }
  if (c >= 0x80 && c < 0xc0) {
    if (missing_ > 0)
      --missing_;
    else if (is_c1(c))
      return; // outside of any character: one for terminals without UTF-8
    out += ch;
    return;
  }
  missing_ = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
  if (c == c1_lead)
    c1_lead_ = true;
  else if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f))
    out += ch;
}

namespace {
/// Characters that take a column: no colour sequences, no UTF-8 continuation bytes.
std::size_t width_of(std::string_view cell) {
  std::size_t out = 0;
  for (std::size_t i = 0; i < cell.size(); ++i) {
    if (cell[i] == '\x1b') {
      while (i < cell.size() && cell[i] != 'm')
        ++i;
      continue;
    }
    out += (static_cast<unsigned char>(cell[i]) & 0xC0) != 0x80;
  }
  return out;
}
} // namespace

std::string cut_line(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t shown = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') { // kept behind the cut as well: it may end a colour
      auto end = std::min(text.find('m', i), text.size() - 1);
      out += text.substr(i, end - i + 1);
      i = end;
      continue;
    }
    shown += (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (shown <= width) out += text[i];
  }
  return out;
}

std::size_t shown_width(std::string_view text) {
  std::size_t out = 0;
  for (std::size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    out = std::max(out, width_of(text.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - width_of(row[i]) + 2, ' ');
    }
    out += line + '\n';
  }
  return out;
}

std::string fitting_table(std::vector<std::vector<std::string>> rows,
                          std::initializer_list<std::string_view> first_to_go) {
  auto out = table(rows);
  if (!is_tty(stdout)) return out;
  const auto width = columns(stdout);
  for (auto i = first_to_go.begin(); i != first_to_go.end() && shown_width(out) > width; ++i) {
    auto column = std::find(rows.front().begin(), rows.front().end(), *i) - rows.front().begin();
    for (auto& row : rows)
      if (column < std::ssize(row)) row.erase(row.begin() + column);
    out = table(rows);
  }
  if (shown_width(out) <= width) return out;
  std::string cut;
  for (std::size_t at = 0; at < out.size();) {
    auto end = out.find('\n', at);
    cut += cut_line(std::string_view{out}.substr(at, end - at), width) + '\n';
    at = end + 1;
  }
  return cut;
}

std::string duration_text(std::int64_t ms) {
  auto s = ms / 1000;
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min";
}

bool parse_duration(std::string_view text, std::int64_t& ms) {
  std::int64_t total = 0;
  if (text.empty()) return false;
  while (!text.empty()) {
    while (!text.empty() && text.front() == ' ')
      text.remove_prefix(1);
    std::int64_t n = 0;
    auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (failed != std::errc{} || n < 0 || n > 1'000'000'000) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    while (!text.empty() && text.front() == ' ')
      text.remove_prefix(1);
    std::int64_t unit = 0;
    auto takes = [&](std::string_view name, std::int64_t value) {
      if (unit != 0 || !text.starts_with(name)) return;
      unit = value;
      text.remove_prefix(name.size());
    };
    takes("ms", 1);
    takes("min", 60'000);
    takes("s", 1000);
    takes("m", 60'000);
    takes("h", 3'600'000);
    if (unit == 0) return false;
    total += n * unit;
  }
  ms = total;
  return true;
}

std::string age_text(utc_time t) {
  if (t.time_since_epoch().count() == 0) return "-";
  auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now() - t)
          .count();
  return duration_text(std::max<std::int64_t>(0, ms));
}

std::string size_text(std::uint64_t size_bytes) {
  if (size_bytes < 1024) return std::to_string(size_bytes) + " B";
  static constexpr std::array units{"KiB", "MiB", "GiB", "TiB"};
  auto x = static_cast<double>(size_bytes) / 1024;
  std::size_t i = 0;
  for (; x >= 1024 && i + 1 < units.size(); ++i)
    x /= 1024;
  char out[32];
  std::snprintf(out, sizeof out, "%.1f %s", x, units[i]);
  return out;
}

std::string count_text(std::uint64_t n, std::string_view one, std::string_view many) {
  return std::to_string(n) + " " + std::string{n == 1 ? one : many};
}

} // namespace skep::cli
